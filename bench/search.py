"""Embedding and searching patterns, one embed process: `python bench/search.py [--patterns N] [--large N] [--json FILE]`.

- *Embedding*: patterns that nobody has seen (`load.patterns`), delivered to an embed service with an empty registry, until each has its
  vectors in the index; beside it the bare encoder on the same texts in the same runs, two renderings each.
- *Searching* these patterns through SearchPatterns, late interaction included, each time with another text; beside it the bare encoder on
  the text alone. Memory is the service's resident set, mapped files included, after the searches.
- The same searches over many more patterns (`prefilled`: random vectors, as many and as long as real ones would be).
- *Later start*: from the process's start to the first answer.
"""

import argparse
import asyncio
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
from load.patterns import distinct_records
from load.words import DOMAINS
from prefilled import fill
from processes import embed_running, inner_of
from report import Figure, finish, of_runs

from treering import Client
from treering.channels import Endpoints
from treering.inner.channels import connect
from treering.inner.version import PROTOCOL_VERSION
from treering.v1.batch_pb2 import LogBatch
from treering.v1.log_pb2 import LogRecord
from treering.v1.sink_pb2 import ChainLinks, DeliveredFrame, DeliverLogsRequest, DeliveryStart
from treering.v1.sink_pb2_grpc import SinkServiceStub
from treering_embed.encoder import Encoder
from treering_embed.encoder.prepare import prepare
from treering_embed.encoder.renderings import render
from treering_embed.encoder.runs import cut
from treering_embed.encoder.weights import DEFAULT_MODEL
from treering_embed.limits import INDEX_BATCH
from treering_runtime.patterns import find_patterns

_LOG_ID = 1
_MIB = 1024 * 1024
_FRAME = 500
_WARM = 10
_THREADS = 2


@dataclass(frozen=True)
class Searched:
    """What searches over one registry cost: latencies in milliseconds, resident memory in MiB, seconds from start to the first answer."""

    latencies: Sequence[float]
    memory_mib: float
    start_s: float


def queries(count: int) -> list[str]:
    """So many questions in words, all different."""
    kinds = ("what happened to the {} on {}", "why: {} because of {}", "{} again, {} too", "is the {} all right, or the {}")
    words = [(thing, trouble) for domain in DOMAINS for thing in domain.things for trouble in domain.troubles]
    return [kinds[number % len(kinds)].format(*words[number * 7 % len(words)]) + f" {number}" for number in range(count)]


def deliver_until_indexed(data_dir: Path, records: Sequence[LogRecord]) -> float:
    """Hands records to the service as ingest does; seconds until the last is found by meaning."""
    frames = [
        DeliveredFrame(
            first_offset=start,
            record_count=len(records[start : start + _FRAME]),
            arrival_time_unix_nano=1,
            payload=LogBatch(records=records[start : start + _FRAME]).SerializeToString(),
        )
        for start in range(0, len(records), _FRAME)
    ]
    indexed = threading.Event()

    def requests() -> Iterator[DeliverLogsRequest]:
        yield DeliverLogsRequest(start=DeliveryStart(log_id=_LOG_ID, protocol_version=PROTOCOL_VERSION))
        for frame in frames:
            end = frame.first_offset + frame.record_count
            links = ChainLinks(before=frame.first_offset, after=end)
            yield DeliverLogsRequest(frames=[frame], log_end_offset=len(records), links=links)
        indexed.wait()  # the delivery ends with its requests

    began = time.perf_counter()
    with connect(inner_of(data_dir)) as channel:
        call = SinkServiceStub(channel).DeliverLogs(requests())
        for response in call:
            if response.progress.visible_end_offset >= len(records):
                break
        else:
            raise RuntimeError("the delivery ended early")
        seconds = time.perf_counter() - began
        indexed.set()
        call.cancel()
    return seconds


def bare_patterns_per_s(encoder: Encoder, records: Sequence[LogRecord]) -> float:
    """The model alone, in the runs that the service makes of the same patterns."""
    masked = find_patterns(
        pa.array([record.service for record in records]), pa.array([record.message for record in records])
    ).texts.to_pylist()
    texts = [text for r, general in zip(records, masked, strict=True) for text in render(r.service, general, r.message)]
    began = time.perf_counter()
    for start in range(0, len(texts), 2 * INDEX_BATCH):
        some = list(dict.fromkeys(texts[start : start + 2 * INDEX_BATCH]))
        for run in cut(encoder.lengths(some)):
            encoder.encode([some[index] for index in run])
    return len(records) / (time.perf_counter() - began)


def bare_query_ms(encoder: Encoder, texts: Sequence[str]) -> list[float]:
    """The model alone on each text, milliseconds."""
    return [_timed(encoder.encode, [text]) for text in texts]


def _timed(function: Callable[..., object], *arguments: object, **options: object) -> float:
    began = time.perf_counter()
    function(*arguments, **options)
    return (time.perf_counter() - began) * 1_000


def search(data_dir: Path, count: int) -> Searched:
    """A later start of the service, and searches."""
    began = time.perf_counter()
    with embed_running(data_dir) as (address, process):
        start_s = time.perf_counter() - began
        with Client(Endpoints(embed=address)) as client:
            asked = queries(_WARM + count)
            times = [_timed(client.search_patterns, text, limit=50) for text in asked]
        return Searched(times[_WARM:], _resident(process), start_s)


def _resident(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / _MIB


def _figures(name: str, found: Searched, floor: Sequence[float], median_ms: float, p95_ms: float, memory_mib: float) -> list[Figure]:
    ordered, bare = np.sort(found.latencies), np.sort(floor)
    return [
        Figure(f"search, {name}: median", float(np.median(ordered)), "ms", float(np.median(bare)), at_most=median_ms),
        Figure(f"search, {name}: 95th percentile", float(np.quantile(ordered, 0.95)), "ms", float(np.quantile(bare, 0.95)), at_most=p95_ms),
        Figure(f"memory after the searches, {name}", found.memory_mib, "MiB", at_most=memory_mib),
        Figure(f"later start, {name}", found.start_s, "s", at_most=3.0),
    ]


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patterns", type=int, default=20_000, help="embedded by the model")
    parser.add_argument("--large", type=int, default=100_000, help="with random vectors; 0 = leave out")
    parser.add_argument("--searches", type=int, default=300)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        real, large = Path(directory) / "real", Path(directory) / "large"
        records = distinct_records(max(options.patterns, options.large))
        with embed_running(real):
            pass  # derives the basis, which is no part of any figure
        encoder = asyncio.run(prepare(DEFAULT_MODEL, real / "encoder", _THREADS)).encoder
        rate_floor = bare_patterns_per_s(encoder, records[: min(2_000, options.patterns)])
        with embed_running(real) as (_, process):
            seconds = deliver_until_indexed(real, records[: options.patterns])
            peak = _resident(process)
        floor = bare_query_ms(encoder, queries(options.searches))
        figures = [
            of_runs("embedding unseen patterns, two renderings", "/s", [options.patterns / seconds], [rate_floor], at_least=150.0),
            Figure("memory after embedding", peak, "MiB", at_most=500.0),
            *_figures(f"{options.patterns:,} patterns", search(real, options.searches), floor, 20.0, 50.0, 500.0),
        ]
        if options.large:
            fill(large, records[: options.large])
            figures += _figures(f"{options.large:,} patterns", search(large, options.searches), floor, 60.0, 120.0, 1_500.0)
        finish("search", {"patterns": options.patterns, "large": options.large, "searches": options.searches}, figures, options.json)


if __name__ == "__main__":
    main()
