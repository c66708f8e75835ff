"""A model and an index without weights, and a running service around them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import xxhash
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from prometheus_client import CollectorRegistry

from tests.links import links_of
from tests.patience import PATIENCE_S
from treering.inner.channels import connect_async
from treering.inner.version import PROTOCOL_VERSION
from treering.v1.admin_pb2_grpc import EmbedAdminServiceStub
from treering.v1.batch_pb2 import LogBatch
from treering.v1.embed_pb2_grpc import EmbedServiceStub
from treering.v1.log_pb2 import LogRecord
from treering.v1.sink_pb2 import DeliveredFrame, DeliverLogsRequest, DeliveryStart, SinkProgress
from treering.v1.sink_pb2_grpc import SinkServiceStub
from treering_embed.application import EMBED_SERVICE, Application
from treering_embed.encoder import Encoded, unit
from treering_embed.encoder.late import PieceFrequencies, derive_basis
from treering_embed.encoder.prepare import PreparedModel
from treering_embed.encoder.weights import Weights
from treering_embed.index import PatternPoint
from treering_embed.limits import LATE_DIMENSION, MAX_WORDPIECES
from treering_embed.settings import EmbedSettings
from treering_runtime.errors import StartError

LOG_ID = 0xFEDC_BA98_7654_3210
WORDS = 30_000


class WordEncoder:
    """An encoder by the book, without a model: each word has a random direction of its own, a text is the mean of its words."""

    name = "sentence-transformers"
    dimension = 48

    def __init__(self, dimension: int = 48) -> None:
        self.dimension = dimension

    def lengths(self, texts: Sequence[str]) -> list[int]:
        return [min(len(text.split()) + 2, MAX_WORDPIECES) for text in texts]

    def encode(self, texts: Sequence[str]) -> Encoded:
        pieces = [np.array([xxhash.xxh3_64_intdigest(word.encode()) % WORDS for word in text.lower().split()], np.int64) for text in texts]
        tokens = [np.array([self._direction(piece) for piece in row], np.float32).reshape(-1, self.dimension) for row in pieces]
        dense = unit(np.array([rows.sum(axis=0) + 1e-3 for rows in tokens], np.float32))
        return Encoded(dense, tokens, pieces)

    def _direction(self, piece: int) -> np.ndarray:
        return unit(np.random.default_rng(int(piece)).standard_normal(self.dimension).astype(np.float32))


def word_model(identity: str = "of all-MiniLM-L6-v2", encoder: WordEncoder | None = None, name: str = "words") -> PreparedModel:
    encoder = encoder or WordEncoder()
    rows = np.random.default_rng(7).standard_normal((500, encoder.dimension)).astype(np.float32)
    weights = Weights(name, Path(), "0" * 64, identity)
    return PreparedModel(weights, encoder, derive_basis(unit(rows)), PieceFrequencies().to_bytes(), identity)


class WordModels:
    """Models by their names, each with directions of its own; `gone` are those whose files cannot be found any more."""

    def __init__(self, *, dimensions: dict[str, int] | None = None) -> None:
        self.dimensions = dimensions or {}
        self.gone: set[str] = set()
        self.encoders: dict[str, WordEncoder] = {}
        self.kept: set[str] | None = None

    async def identify(self, model: str) -> str:
        if model in self.gone:
            raise StartError(f"model={model}: there is no such directory")
        return f"of {model}"

    async def prepare(self, model: str) -> PreparedModel:
        identity = await self.identify(model)
        encoder = self.encoders.setdefault(model, WordEncoder(self.dimensions.get(model, WordEncoder.dimension)))
        return word_model(identity, encoder, model)

    async def keep_only(self, identities: Any) -> None:
        self.kept = set(identities)


class OneModel(WordModels):
    """Gives one model, whatever it is asked for."""

    def __init__(self, model: PreparedModel) -> None:
        super().__init__()
        self.model = model

    async def identify(self, model: str) -> str:
        return self.model.identity

    async def prepare(self, model: str) -> PreparedModel:
        return self.model


class NeverPrepared(WordModels):
    """A model that takes for ever."""

    async def prepare(self, model: str) -> PreparedModel:
        await asyncio.Event().wait()
        raise AssertionError


def settings_for(path: Path, **changes: str | int) -> EmbedSettings:
    chosen = {"listen": "127.0.0.1:0", "metrics_listen": "127.0.0.1:0", "drain_seconds": 0.0, "models": "wide, narrow"} | changes
    return EmbedSettings(data_dir=path, **chosen)


def frame(first_offset: int, messages: Sequence[str], service: str = "shop/checkout") -> DeliveredFrame:
    records = [LogRecord(service=service, message=message) for message in messages]
    payload = LogBatch(records=records).SerializeToString()
    return DeliveredFrame(first_offset=first_offset, record_count=len(records), arrival_time_unix_nano=1, payload=payload)


class Running:
    """A running application, spoken to over gRPC only."""

    def __init__(self, application: Application, channel: grpc.aio.Channel, inner: grpc.aio.Channel) -> None:
        self.application = application
        self.embed = EmbedServiceStub(channel)
        self.admin = EmbedAdminServiceStub(inner)
        self.sink = SinkServiceStub(inner)
        self.health = HealthStub(channel)

    async def ready(self, name: str = EMBED_SERVICE) -> None:
        """Returns once health says that searches are answered; with the name of the process, "", that they are or are refused in words."""
        async for response in self.health.Watch(HealthCheckRequest(service=name)):
            if response.status == HealthCheckResponse.SERVING:
                return

    async def deliver(self, frames: Sequence[DeliveredFrame], reached: str = "visible_end_offset", log_id: int = LOG_ID) -> SinkProgress:
        """Delivers frames and returns the progress once the field `reached` is past them all."""
        end = max((item.first_offset + item.record_count for item in frames), default=0)
        call = self.sink.DeliverLogs()
        await call.write(DeliverLogsRequest(start=DeliveryStart(log_id=log_id, protocol_version=PROTOCOL_VERSION)))
        for each in frames:
            await call.write(DeliverLogsRequest(frames=[each], log_end_offset=end, links=links_of([each])))
        async for response in call:
            if getattr(response.progress, reached) >= end:
                call.cancel()
                return response.progress
        raise AssertionError("the delivery ended early")


def reason(error: grpc.aio.AioRpcError) -> error_details_pb2.ErrorInfo:
    status = status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return info


@contextlib.asynccontextmanager
async def running(
    settings: EmbedSettings, models: WordModels | None = None, *, until_ready: bool = True, collector: CollectorRegistry | None = None
) -> AsyncIterator[Running]:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    application = Application(settings, collector or CollectorRegistry(), models=models or WordModels())
    await application.start()
    work = asyncio.create_task(application.run())
    try:
        async with (
            grpc.aio.insecure_channel(application.server.address) as channel,
            connect_async(application.planes.inner.address) as inner,
        ):
            started = Running(application, channel, inner)
            if until_ready and not isinstance(models, NeverPrepared):
                await started.ready()
            yield started
        if work.done():
            work.result()
    finally:
        work.cancel()
        await asyncio.wait({work})
        await application.stop(settings.drain_seconds)


DIMENSION = 16
LARGE = 2**64 - 3


def rows(seed: int, count: int, width: int) -> np.ndarray:
    return unit(np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32))


def point(pattern_id: int, service: str = "api", seed: int | None = None, words: int = 3) -> PatternPoint:
    seed = pattern_id % 2**32 if seed is None else seed
    return PatternPoint(pattern_id, service, rows(seed, 1, DIMENSION)[0], rows(seed + 1, words, LATE_DIMENSION))


def words(count: int, start: int = 0) -> list[str]:
    """Messages of kinds of their own."""
    letters = "abcdefghij"
    return ["kind " + "".join(letters[int(digit)] for digit in f"{number:04d}") for number in range(start, start + count)]


async def flooded(service: Running, first_offset: int, count: int = 150) -> int:
    """A hundred and more new kinds of a service that makes them without end; returns the offset after them."""
    for start in range(0, count, 10):
        await service.deliver([frame(first_offset + start, words(10, first_offset + start), "flood")])
    async with asyncio.timeout(PATIENCE_S):
        while service.application.sink.crowded.is_set():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0)
    return first_offset + count
