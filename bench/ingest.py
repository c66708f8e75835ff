"""Measures the door: acknowledged records a second, latency, many streams, memory; each beside its floor where there is one.

    python bench/ingest.py [--json FILE] [--records N] [--runs N] [--attributes 0|3] [--dir DIRECTORY]

Every record is on disk (policy `always`) before it counts. DIRECTORY must be on the disk that is meant, not in memory.
"""

import argparse
import asyncio
import os
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
from floors import disk_records_per_s
from load import BatchPool, Conditions
from load.sender import UPLOAD, RawSender
from processes import Ingest, PeakMemory, bare_server_running, idle_streams_open, ingest_running, scrape, stopped_sink
from report import Figure, finish, of_runs

from treering.v1.ingest_pb2 import UploadLogsResponse

OFFERED_PER_S = 50_000
"""Records a second at which latency is measured."""

SINGLE_RECORDS = 20_000
SMALL_UPLOADS = 64
OPEN_STREAMS = 2_000
OVERLOAD_CLIENTS = 5
OVERLOAD_S = 15.0


def upload_rate(address: str, pool: BatchPool, batches: int) -> float:
    """One UploadLogs call; acknowledged records/s. The first batch of the connection is not measured."""
    sender, producer_id = RawSender(address), uuid.uuid4().hex
    sender.upload([pool.batch(1)])
    started = time.perf_counter()
    response = sender.upload(pool.batch(number, producer_id) for number in range(1, batches + 1))
    seconds = time.perf_counter() - started
    sender.close()
    if response.accepted_count != pool.count(batches):
        raise RuntimeError(f"{response.accepted_count} records were acknowledged, {pool.count(batches)} were sent")
    return response.accepted_count / seconds


def throughput(ingest: Ingest, bare: str, pool: BatchPool, options: argparse.Namespace) -> list[Figure]:
    """Large batches on one stream, in turn with the bare server."""
    batches = options.records // 1_000
    rates, floors = [], []
    for _ in range(options.runs):
        floors.append(upload_rate(bare, pool, batches))
        rates.append(upload_rate(ingest.address, pool, batches))
    some = [pool.batch(number, "x") for number in range(1, 201)]
    disk = [disk_records_per_s(some, pool.count(200), options.dir) for _ in range(options.runs)]
    name = f"1,000 records a batch, {pool.conditions.attributes} attributes, one stream"
    return [
        of_runs(name, "records/s", rates, floors, at_least=400_000, ratio_at_least=0.5),
        of_runs("  the floor of that: bare gRPC stream, parse, write, sync", "records/s", floors),
        of_runs("  the floor below: write and sync alone", "records/s", disk),
    ]


def single_records(ingest: Ingest, bare: str, runs: int) -> list[Figure]:
    """One record a request: UploadLogs, and StreamLogs with an acknowledgement for each group; in turn with the bare server."""
    pool = BatchPool(Conditions(records_per_batch=1, pool_records=5_000, novel_every=0))
    figures = []
    for name, measured in (("UploadLogs", upload_rate), ("StreamLogs", stream_rate)):
        rates, floors = [], []
        for _ in range(runs):
            floors.append(measured(bare, pool, SINGLE_RECORDS))
            rates.append(measured(ingest.address, pool, SINGLE_RECORDS))
        figures.append(of_runs(f"1 record a request, one {name} stream", "records/s", rates, floors, at_least=8_000))
    return figures


def stream_rate(address: str, pool: BatchPool, batches: int) -> float:
    """One StreamLogs call; acknowledged batches/s."""
    sender, producer_id = RawSender(address), uuid.uuid4().hex
    started = time.perf_counter()
    for response in sender.stream(pool.batch(number, producer_id) for number in range(1, batches + 1)):
        acknowledged = response.last_durable_sequence
    rate = acknowledged / (time.perf_counter() - started)
    sender.close()
    return rate


def small_uploads(ingest: Ingest) -> list[Figure]:
    """64 clients, each with one UploadLogs of ten records after the other: do they share syncs?"""
    before = scrape(ingest.metrics)
    seconds = asyncio.run(_small_uploads(ingest.address, rounds=50))
    after = scrape(ingest.metrics)
    records, syncs = (after[name] - before[name] for name in ("treering_ingest_records_accepted_total", "treering_ingest_fsyncs_total"))
    return [
        Figure(f"{SMALL_UPLOADS} clients with uploads of 10 records: uploads", records / 10 / seconds, "uploads/s"),
        Figure("  records per fsync (10 = nothing shared)", records / syncs, "records", at_least=50),
    ]


async def _small_uploads(address: str, rounds: int) -> float:
    pool = BatchPool(Conditions(records_per_batch=10, pool_records=1_000, novel_every=0))
    async with grpc.aio.insecure_channel(address) as channel:
        upload: grpc.aio.StreamUnaryMultiCallable[bytes, UploadLogsResponse]
        upload = channel.stream_unary(UPLOAD, None, UploadLogsResponse.FromString)

        async def client() -> None:
            producer_id = uuid.uuid4().hex
            for sequence in range(1, rounds + 1):
                await upload(iter([pool.batch(sequence, producer_id)]))

        started = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(SMALL_UPLOADS)))
        return time.perf_counter() - started


def latency(ingest: Ingest, records_per_batch: int, seconds: float) -> list[Figure]:
    """From the moment a batch is due to its acknowledgement, on one StreamLogs call at OFFERED_PER_S."""
    pool = BatchPool(Conditions(records_per_batch=records_per_batch, pool_records=50_000))
    found = np.sort(offered_latencies(ingest.address, pool, seconds)) * 1e3
    name = f"acknowledged, {OFFERED_PER_S:,} records/s in batches of {records_per_batch:,}"
    return [
        Figure(f"{name}: p50", float(found[len(found) // 2]), "ms", at_most=10),
        Figure(f"{name}: p99", float(found[int(len(found) * 0.99)]), "ms", at_most=60),
        Figure(f"{name}: worst", float(found[-1]), "ms"),
    ]


def offered_latencies(address: str, pool: BatchPool, seconds: float) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Latency of each batch in seconds. A batch that is sent late counts from when it was due."""
    sender, producer_id = RawSender(address), uuid.uuid4().hex
    pause = pool.conditions.records_per_batch / OFFERED_PER_S
    batches = int(seconds / pause)
    begin = time.perf_counter() + 0.5

    def paced() -> Iterator[bytes]:
        for number in range(1, batches + 1):
            time.sleep(max(0.0, begin + number * pause - time.perf_counter()))
            yield pool.batch(number, producer_id)

    found, known = np.zeros(batches), 0
    for response in sender.stream(paced()):
        now = time.perf_counter() - begin
        for sequence in range(known + 1, response.last_durable_sequence + 1):
            found[sequence - 1] = now - sequence * pause
        known = response.last_durable_sequence
    sender.close()
    if known != batches:
        raise RuntimeError(f"{known} of {batches} batches were acknowledged")
    return found[int(1 / pause) :]


def many_streams(ingest: Ingest, pool: BatchPool, batches: int, runs: int) -> list[Figure]:
    """A fast client alone, and beside many that do little."""
    alone = [upload_rate(ingest.address, pool, batches) for _ in range(runs)]
    with idle_streams_open(ingest.address, OPEN_STREAMS):
        memory = ingest.rss_mib()
        beside = [upload_rate(ingest.address, pool, batches) for _ in range(runs)]
    return [
        Figure(f"memory with {OPEN_STREAMS:,} idle and slow streams", memory, "MiB", at_most=350),
        of_runs("a fast client beside them (floor: the same client alone)", "records/s", beside, alone, ratio_at_least=0.7),
    ]


def overload(pool: BatchPool, directory: Path) -> list[Figure]:
    """Five clients as fast as they can, while the only sink stands still."""
    with stopped_sink(directory / "query") as sink, ingest_running(directory / "overloaded", f"query={sink}") as ingest:
        watch, until = PeakMemory(ingest.process), time.monotonic() + OVERLOAD_S
        watch.start()
        with ThreadPoolExecutor(OVERLOAD_CLIENTS) as clients:
            accepted = sum(clients.map(lambda _: _send_until(ingest.address, pool, until), range(OVERLOAD_CLIENTS)))
        peak = watch.stop()
    return [
        Figure(f"peak memory: {OVERLOAD_CLIENTS} clients unpaced, sink stopped", peak, "MiB", at_most=400),
        Figure("  accepted meanwhile", accepted / OVERLOAD_S, "records/s"),
    ]


def _send_until(address: str, pool: BatchPool, until: float) -> int:
    sender, producer_id, sending = RawSender(address), uuid.uuid4().hex, threading.Event()

    def batches() -> Iterator[bytes]:
        number = 0
        while time.monotonic() < until and not sending.is_set():
            number += 1
            yield pool.batch(number, producer_id)

    accepted = sender.upload(batches()).accepted_count
    sender.close()
    return accepted


def measure(options: argparse.Namespace) -> tuple[dict[str, object], list[Figure]]:
    """Everything, in turn, on one ingest without sinks; overload on one of its own."""
    pool = BatchPool(Conditions(attributes=options.attributes))
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        directory = Path(folder)
        with ingest_running(directory / "ingest", disk_reserve_bytes="0") as ingest, bare_server_running(directory) as bare:
            figures = throughput(ingest, bare, pool, options)
            figures += single_records(ingest, bare, options.runs)
            figures += small_uploads(ingest)
            figures += latency(ingest, 1_000, options.latency_s) + latency(ingest, 100, options.latency_s)
            figures += many_streams(ingest, pool, options.records // 1_000, options.runs)
        figures += overload(pool, directory)
    load = {**pool.describe(), "records_a_run": options.records, "runs": options.runs, "cores": os.cpu_count()}
    return load, figures


def main() -> None:
    """Parses the command line, measures, prints, and ends with 1 if a promise was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write everything here as well")
    parser.add_argument("--records", type=int, default=500_000, help="records of one run (default 500,000)")
    parser.add_argument("--runs", type=int, default=3, help="runs whose median counts (default 3)")
    parser.add_argument("--attributes", type=int, default=0, choices=(0, 3))
    parser.add_argument("--latency-s", type=float, default=10.0, help="length of each latency run, seconds")
    parser.add_argument("--dir", type=Path, default=Path.cwd(), help="where the log is written")
    options = parser.parse_args()
    load, figures = measure(options)
    finish("ingest", load, figures, options.json)


if __name__ == "__main__":
    main()
