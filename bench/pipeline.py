"""Measures the whole product, started as a user starts it: from the door to SQL and to the index.

    python bench/pipeline.py [--json FILE] [--records N] [--dir DIRECTORY] [--profile FOLDER]

- cold: the fleet speaks for the first time, until each of its kinds of line has its vector;
- rate: N records as fast as they are taken, until all are durable, in SQL, and their patterns indexed. The fleet is known by then, and one
  record in 20,000 is of a new kind;
- resources: processor time of batches with 8 resource attributes beside that of batches without;
- freshness at 50,000 records/s: from the acknowledgement until SQL shows a record, until a search that waits for it finds it by meaning;
- memory of each service meanwhile, a search by meaning meanwhile, processor time at rest;
- floors: one thread that decodes, masks and writes sorted Parquet, and nothing else, while the services rest; write and fdatasync alone.

With --profile each service is watched by py-spy during the rate runs.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

import numpy as np
import psutil
from floors import columns_records_per_s, disk_records_per_s
from freshness import POLL_S, Seconds, offer
from load import BatchPool, Conditions
from load.sender import RawSender
from processes import PeakMemory
from report import Figure, finish
from stack import Stack, running

OFFERED_PER_S = 50_000
SETTLE_S = 10.0
"""After the last record, seconds: what it left to do (a seal, a flush, the last progress) is not rest."""

AT_REST_S = 30.0
BUSY_S_A_SECOND = 0.1
"""Processor time of the services in one second from which on they are not at rest."""

LONGEST_REST_WAIT_S = 60.0
FLOOR_ROUNDS = 5
SERVICES = ("ingest", "query", "embed")
PROMISED_RATE = {0: 180_000, 3: 110_000}
"""Records/s end to end, by attributes."""

RESOURCE_ATTRIBUTES = 8
RESOURCE_ROUNDS = 3
PROMISED_RESOURCE_COST = 1.1
"""A batch's resource is stored once."""

PROMISED_RATIO = 0.5
"""End to end over its floor: half of what one thread does that does nothing else."""

PROMISED_MIB = {"ingest": 250, "query": 900, "embed": 600}
"""Resident memory at OFFERED_PER_S."""

SEARCHES = ("card was refused by the bank", "disk is almost full", "login does not work", "replica is behind", "cannot reach upstream")


def service_processes() -> dict[str, psutil.Process]:
    """The services among the descendants of this process."""
    found: dict[str, psutil.Process] = {}
    for process in psutil.Process().children(recursive=True):
        line = process.cmdline()
        names = [name for name in SERVICES if f"treering_{name}" in line]
        if names and process.parent() not in found.values():
            found[names[0]] = process
    return found


@contextmanager
def peak_memory(processes: dict[str, psutil.Process]) -> Iterator[dict[str, PeakMemory]]:
    """Watches the services' memory."""
    watches = {name: PeakMemory(process) for name, process in processes.items()}
    for watch in watches.values():
        watch.start()
    try:
        yield watches
    finally:
        for watch in watches.values():
            watch.stop()


@contextmanager
def profiled(processes: dict[str, psutil.Process], folder: Path | None, label: str) -> Iterator[None]:
    """Records a py-spy profile of each service where a folder is given."""
    with ExitStack() as spies:
        for name, process in processes.items() if folder else ():
            line = ["py-spy", "record", "--gil", "-r", "200", "-f", "raw", "-o", f"{folder}/{label}-{name}.raw", "-p", str(process.pid)]
            spy = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            spies.callback(_interrupt, spy)
        yield


def _interrupt(spy: "subprocess.Popen[bytes]") -> None:
    spy.send_signal(2)
    spy.wait(timeout=60)


def at_rest(processes: dict[str, psutil.Process]) -> Figure:
    """Processor time of the three services while nothing is asked."""
    time.sleep(SETTLE_S)
    return Figure("at rest, three services together", 100 * _spent(processes, AT_REST_S) / AT_REST_S, "% of core", at_most=1.0)


def columns_floor(processes: dict[str, psutil.Process], batches: Sequence[bytes], directory: Path) -> dict[str, float]:
    """The floors of columns, each the median of some rounds, once the services have done what the last load left them (a minute at most).

    A floor that was measured beside a seal or a merge would be low, and flatter what stands above it.
    """
    _wait_for_rest(processes)
    rounds = [columns_records_per_s(batches, directory) for _ in range(FLOOR_ROUNDS)]
    return {step: median(each[step] for each in rounds) for step in rounds[0]}


def _wait_for_rest(processes: dict[str, psutil.Process]) -> None:
    deadline = time.monotonic() + LONGEST_REST_WAIT_S
    while _spent(processes, 1.0) > BUSY_S_A_SECOND and time.monotonic() < deadline:
        pass


def _spent(processes: dict[str, psutil.Process], seconds: float) -> float:
    """Processor time of all of them in the next so many seconds."""
    before = sum(map(_seconds, processes.values()))
    time.sleep(seconds)
    return sum(map(_seconds, processes.values())) - before


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def rate(stack: Stack, pool: BatchPool, batches: int) -> tuple[float, float]:
    """Seconds until everything is acknowledged, and until it is in all answers."""
    sender, producer_id = RawSender(stack.endpoints.ingest), uuid.uuid4().hex
    started = time.perf_counter()
    response = sender.upload(pool.batch(number, producer_id) for number in range(1, batches + 1))
    acknowledged = time.perf_counter() - started
    sender.close()
    if response.accepted_count != pool.count(batches):
        raise RuntimeError(f"{response.accepted_count} records were acknowledged, {pool.count(batches)} were sent")
    with stack.client() as client:
        while any(sink.visible_end_offset < response.end_offset_exclusive for sink in client.get_ingest_status().sinks):
            time.sleep(POLL_S)
    return acknowledged, time.perf_counter() - started


def cold(stack: Stack) -> list[Figure]:
    """A pool of the fleet's records, none of whose kinds is known."""
    pool = BatchPool(Conditions(novel_every=0))
    _, everywhere = rate(stack, pool, 200)
    with stack.client() as client:
        patterns = client.get_embed_status().pattern_count
    return [
        Figure("a fleet speaks for the first time: until everything is indexed", everywhere, "s"),
        Figure("  new kinds a second", patterns / everywhere, "patterns/s"),
    ]


def rates(stack: Stack, processes: dict[str, psutil.Process], options: argparse.Namespace, attributes: int) -> list[Figure]:
    """End-to-end rate with so many attributes, its floors, and what each service used."""
    pool = BatchPool(Conditions(attributes=attributes, novel_from=1_000_000 * (1 + attributes)))
    batches = options.records // pool.conditions.records_per_batch
    before = {name: _seconds(process) for name, process in processes.items()}
    with peak_memory(processes) as watches, profiled(processes, options.profile, f"attributes-{attributes}"):
        acknowledged, everywhere = rate(stack, pool, batches)
    used = {name: _seconds(process) - before[name] for name, process in processes.items()}
    count = pool.count(batches)
    some = [pool.payload(number) for number in range(1, min(batches, 300) + 1)]
    columns = columns_floor(processes, some, options.dir)
    end_to_end = Figure(
        f"durable + in SQL + indexed, {attributes} attributes (floor: one thread)",
        count / everywhere,
        "records/s",
        columns["all"],
        at_least=PROMISED_RATE[attributes],
        ratio_at_least=PROMISED_RATIO,
    )
    return [
        end_to_end,
        Figure("  acknowledged meanwhile", count / acknowledged, "records/s", disk_records_per_s(some, pool.count(len(some)), options.dir)),
        *(Figure(f"  floor: {step} alone, one thread", value, "records/s") for step, value in columns.items() if step != "all"),
        *(Figure(f"  processor time of {name}", seconds / count * 1e6, "us/record") for name, seconds in used.items()),
        *(Figure(f"  peak memory of {name}, unpaced", watch.peak_mib, "MiB") for name, watch in watches.items()),
    ]


def resources(stack: Stack, processes: dict[str, psutil.Process], records: int) -> Figure:
    """What a record of batches with a resource takes of the processors, beside one without: in turn, so that both meet the same machine."""
    spent: dict[int, list[float]] = {0: [], RESOURCE_ATTRIBUTES: []}
    for round_number in range(RESOURCE_ROUNDS):
        for attributes, found in spent.items():
            novel_from = 20_000_000 + 1_000_000 * (2 * round_number + bool(attributes))
            pool = BatchPool(Conditions(attributes=3, resource_attributes=attributes, novel_from=novel_from))
            batches = max(1, records // pool.conditions.records_per_batch)
            before = sum(map(_seconds, processes.values()))
            rate(stack, pool, batches)
            # What it left to do, a seal above all, is a part of it.
            _wait_for_rest(processes)
            found.append(sum(map(_seconds, processes.values())) - before)
    name = f"processor time of batches with {RESOURCE_ATTRIBUTES} resource attributes, of those without"
    return Figure(name, median(spent[RESOURCE_ATTRIBUTES]) / median(spent[0]), "times", at_most=PROMISED_RESOURCE_COST)


def freshness(stack: Stack, processes: dict[str, psutil.Process], seconds: float) -> list[Figure]:
    """Delays and memory at OFFERED_PER_S, then the same with searches beside."""
    pool = BatchPool(Conditions(novel_from=10_000_000))
    with peak_memory(processes) as watches:
        offered = offer(stack, pool, OFFERED_PER_S, seconds)
    sql, known, novel = offered.in_sql(), offered.by_meaning(novel=False), offered.by_meaning(novel=True)
    name = f"at {OFFERED_PER_S:,} records/s: acknowledged to"
    figures = [
        Figure(f"{name} SQL, p50", _rank(sql, 50), "ms", at_most=300),
        Figure(f"{name} SQL, p99", _rank(sql, 99), "ms", at_most=1_000),
        Figure(f"{name} found by meaning, a known kind, p50", _rank(known, 50), "ms", at_most=300),
        Figure(f"{name} found by meaning, a known kind, p99", _rank(known, 99), "ms", at_most=1_000),
        Figure(f"{name} found by meaning, a new kind, p50", _rank(novel, 50), "ms"),
        Figure(f"{name} found by meaning, a new kind, p99", _rank(novel, 99), "ms", at_most=3_000),
        *(Figure(f"  peak memory of {key}", watch.peak_mib, "MiB", at_most=PROMISED_MIB[key]) for key, watch in watches.items()),
    ]
    found: list[float] = []
    searching = threading.Thread(target=_search, args=(stack, seconds, found))
    searching.start()
    offer(stack, BatchPool(Conditions(novel_from=11_000_000)), OFFERED_PER_S, seconds)
    searching.join()
    figures.append(Figure("  a search by meaning beside that, p95", _rank(np.sort(np.array(found)), 95), "ms", at_most=100))
    return figures


def _search(stack: Stack, seconds: float, found: list[float]) -> None:
    until = time.monotonic() + seconds
    with stack.client() as client:
        while time.monotonic() < until:
            started = time.perf_counter()
            client.search_logs(SEARCHES[len(found) % len(SEARCHES)], mode="semantic", page_size=10)
            found.append(time.perf_counter() - started)
            time.sleep(0.1)


def _rank(found: Seconds, percent: int) -> float:
    return float(found[min(len(found) - 1, len(found) * percent // 100)]) * 1e3


def measure(options: argparse.Namespace) -> list[Figure]:
    """A fresh product for everything, so that its first seconds and its sealing are in."""
    with tempfile.TemporaryDirectory(dir=options.dir) as folder, running(Path(folder) / "data", options.settings) as stack:
        processes = service_processes()
        figures = cold(stack)
        figures.append(at_rest(processes))
        for attributes in options.attributes:
            figures += rates(stack, processes, options, attributes)
        figures.append(resources(stack, processes, options.records // 4))
        if options.seconds:
            figures += freshness(stack, processes, options.seconds)
    return figures


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write everything here as well")
    parser.add_argument("--records", type=int, default=2_000_000, help="records of each rate run (default 2,000,000)")
    parser.add_argument("--attributes", type=int, nargs="*", default=[0, 3], choices=(0, 3), help="which rate runs")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of the freshness runs, 0 for none")
    parser.add_argument("--dir", type=Path, default=Path.cwd(), help="where the data directory is made")
    parser.add_argument("--profile", type=Path, help="folder for py-spy profiles of the rate runs")
    parser.set_defaults(settings={"TREERING_INGEST_DISK_RESERVE_BYTES": str(64 * 1024 * 1024)})
    return parser.parse_args(words)


def main() -> None:
    """Measures, prints, and ends with 1 if a promise was missed."""
    options = arguments(sys.argv[1:])
    figures = measure(options)
    load = {"records_a_run": options.records, "seconds": options.seconds, "records_per_batch": 1_000, "cores": os.cpu_count()}
    finish("pipeline", load, figures, options.json)


if __name__ == "__main__":
    main()
