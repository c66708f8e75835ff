"""A model and an index without weights, and a running service around them."""

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path

import grpc
import numpy as np
import xxhash
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from prometheus_client import CollectorRegistry

from treering.v1.embed_pb2_grpc import EmbedServiceStub
from treering.v1.ingest_pb2 import UploadLogsRequest
from treering.v1.log_pb2 import LogRecord
from treering.v1.sink_pb2 import DeliveredFrame, DeliverLogsRequest, DeliveryStart
from treering.v1.sink_pb2_grpc import SinkServiceStub
from treering_embed.application import EMBED_SERVICE, Application
from treering_embed.encoder import Encoded, unit
from treering_embed.encoder.prepare import PreparedModel
from treering_embed.encoder.weights import Weights
from treering_embed.index import PatternPoint
from treering_embed.late import PieceFrequencies, derive_basis
from treering_embed.limits import LATE_DIMENSION
from treering_embed.settings import EmbedSettings

LOG_ID = 0xFEDC_BA98_7654_3210
WORDS = 30_000


class WordEncoder:
    """An encoder by the book, without a model: each word has a random direction of its own, a text is the mean of its words."""

    name = "words"
    dimension = 48

    def encode(self, texts: Sequence[str]) -> Encoded:
        pieces = [np.array([xxhash.xxh3_64_intdigest(word.encode()) % WORDS for word in text.lower().split()], np.int64) for text in texts]
        tokens = [np.array([self._direction(piece) for piece in row], np.float32).reshape(-1, self.dimension) for row in pieces]
        dense = unit(np.array([rows.sum(axis=0) + 1e-3 for rows in tokens], np.float32))
        return Encoded(dense, tokens, pieces)

    def _direction(self, piece: int) -> np.ndarray:
        return unit(np.random.default_rng(int(piece)).standard_normal(self.dimension).astype(np.float32))


def word_model(identity: str = "words-1", encoder: WordEncoder | None = None) -> PreparedModel:
    encoder = encoder or WordEncoder()
    rows = np.random.default_rng(7).standard_normal((500, encoder.dimension)).astype(np.float32)
    weights = Weights("words", Path(), "0" * 64, identity)
    return PreparedModel(weights, encoder, derive_basis(unit(rows)), PieceFrequencies().to_bytes(), identity)


async def prepare_words(settings: EmbedSettings) -> PreparedModel:
    return word_model()


async def never_prepared(settings: EmbedSettings) -> PreparedModel:
    await asyncio.Event().wait()
    raise AssertionError


def settings_for(path: Path, **changes) -> EmbedSettings:
    return EmbedSettings(data_dir=path, listen="127.0.0.1:0", metrics_listen="127.0.0.1:0", drain_seconds=0.0, **changes)


def frame(first_offset: int, messages: Sequence[str], service: str = "shop/checkout") -> DeliveredFrame:
    records = [LogRecord(service=service, message=message) for message in messages]
    payload = UploadLogsRequest(records=records).SerializeToString()
    return DeliveredFrame(first_offset=first_offset, record_count=len(records), arrival_time_unix_nano=1, payload=payload)


class Running:
    """A running application, spoken to over gRPC only."""

    def __init__(self, application: Application, channel: grpc.aio.Channel) -> None:
        self.application = application
        self.embed = EmbedServiceStub(channel)
        self.sink = SinkServiceStub(channel)
        self.health = HealthStub(channel)

    async def ready(self) -> None:
        """Returns once health says that questions are answered."""
        async for response in self.health.Watch(HealthCheckRequest(service=EMBED_SERVICE)):
            if response.status == HealthCheckResponse.SERVING:
                return

    async def deliver(self, frames: Sequence[DeliveredFrame], reached: str = "visible_end_offset", log_id: int = LOG_ID):
        """Delivers frames and returns the progress once the field `reached` is past them all."""
        end = max((item.first_offset + item.record_count for item in frames), default=0)
        call = self.sink.DeliverLogs()
        await call.write(DeliverLogsRequest(start=DeliveryStart(log_id=log_id)))
        await call.write(DeliverLogsRequest(frames=frames, log_end_offset=end))
        async for response in call:
            if getattr(response.progress, reached) >= end:
                call.cancel()
                return response.progress
        raise AssertionError("the delivery ended early")


@contextlib.asynccontextmanager
async def running(settings: EmbedSettings, prepare_model=prepare_words):
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    application = Application(settings, CollectorRegistry(), prepare_model=prepare_model)
    await application.start()
    ended = asyncio.Event()
    work = asyncio.create_task(application.run_until(_wait(ended)))
    try:
        async with grpc.aio.insecure_channel(application.server.address) as channel:
            started = Running(application, channel)
            if prepare_model is not never_prepared:
                await started.ready()
            yield started
        ended.set()
        await work
    finally:
        work.cancel()
        await asyncio.wait({work})
        await application.stop()


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


DIMENSION = 16
LARGE = 2**64 - 3


def rows(seed: int, count: int, width: int) -> np.ndarray:
    return unit(np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32))


def point(pattern_id: int, service: str = "api", seed: int | None = None, words: int = 3) -> PatternPoint:
    seed = pattern_id % 2**32 if seed is None else seed
    return PatternPoint(pattern_id, service, rows(seed, 1, DIMENSION)[0], rows(seed + 1, words, LATE_DIMENSION))
