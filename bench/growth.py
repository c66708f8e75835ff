"""Does a store that grows stay as fast, and as small in memory? Measures the whole product at several sizes of one store.

    python bench/growth.py [--millions 1 10 50] [--attributes 0 3] [--json FILE] [--dir DIRECTORY]

The load of each size is sent as fast as it is taken, without a pause: the rate of the last step is what is sustained. At each size the
services come to rest, the floor is measured, the last 200,000 records are sent by themselves, and questions are asked:

- of these newest records only: what is read is the same at every size, and so should be the time;
- of everything: the time may grow with the store, but not faster than that of bare DuckDB on the same files.

Free space is checked first: 50 million records need about 12 GB while the log keeps its last quarter of an hour, and about five minutes for
each number of attributes on two cores.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import duckdb
import psutil
from load import BatchPool, Conditions
from pipeline import PROMISED_MIB, PROMISED_RATE, PROMISED_RATIO, SEARCHES, columns_floor, peak_memory, rate, service_processes
from report import Figure, finish
from stack import Stack, running

from treering import Client
from treering.selection import log_filter

MILLION = 1_000_000
NEWEST = 200_000
"""Records of the last part of each size: what the questions about the newest records read."""

BYTES_A_RECORD = 260
"""Space for one record with three attributes, generously: the log's frame, the sealed record, and room for a rewrite."""

SUSTAINED_MILLIONS = 10
"""The promised rates hold from this size on."""

ROUNDS = 5
WORDS = "connection"
"""Occurs in many messages of the load."""


def check_space(directory: Path, millions: int) -> None:
    """Ends the program when the largest store would not fit."""
    needed, free = millions * MILLION * BYTES_A_RECORD + 2**30, shutil.disk_usage(directory).free
    if free < needed:
        sys.exit(f"{directory} has {free / 1e9:.1f} GB free and {needed / 1e9:.1f} GB are needed; give another --dir or fewer --millions")


class Growing:
    """One store that grows, and what is measured at each size."""

    def __init__(self, stack: Stack, attributes: int, directory: Path) -> None:
        self.attributes = attributes
        self._stack = stack
        self._directory = directory
        self._processes = service_processes()
        self._pool = BatchPool(Conditions(attributes=attributes))
        self._novel = 0
        self._records = 0
        self._first: dict[str, float] = {}

    def begin(self) -> None:
        """Lets every kind of line of the fleet speak once: the model's work for these belongs to no size."""
        self._send(NEWEST)

    def grow_to(self, millions: int) -> list[Figure]:
        """Sends what is missing, and measures."""
        size = f"{millions:>3} M, {self.attributes} attributes"
        with peak_memory(self._processes) as watches:
            per_s = self._send(millions * MILLION - self._records - NEWEST)
        some = [self._pool.payload(number) for number in range(1, 301)]
        floor = columns_floor(self._processes, some, self._directory)["all"]
        promised = PROMISED_RATE[self.attributes] if millions >= SUSTAINED_MILLIONS else None
        return [
            Figure(f"{size}: durable + in SQL + indexed", per_s, "records/s", floor, at_least=promised, ratio_at_least=PROMISED_RATIO),
            self._beside_first(
                Figure(f"{size}: ... over its floor (floor: at the first size)", per_s / floor, "ratio", ratio_at_least=0.8)
            ),
            *(
                Figure(f"{size}: peak memory of {name}", watch.peak_mib, "MiB", at_most=PROMISED_MIB[name])
                for name, watch in watches.items()
            ),
            *self._ask(size),
        ]

    def _send(self, records: int) -> float:
        self._pool = BatchPool(Conditions(attributes=self.attributes, novel_from=self._novel))
        batches = max(1, records // self._pool.conditions.records_per_batch)
        _, seconds = rate(self._stack, self._pool, batches)
        count = self._pool.count(batches)
        self._records += count
        self._novel += count
        return count / seconds

    def _beside_first(self, figure: Figure) -> Figure:
        """The figure with the same one of the first size as its floor."""
        return replace(figure, floor=self._first.setdefault(figure.name.partition(":")[2], figure.value))

    def _ask(self, size: str) -> list[Figure]:
        since = time.time_ns()
        self._send(NEWEST)
        newest = log_filter(since=since, until=time.time_ns(), contains=WORDS)
        files = [str(file) for file in sorted((self._stack.data_dir / "query" / "segments").glob("*.parquet"))]
        with self._stack.client(timeout=600) as client, duckdb.connect(config={"threads": 2}) as bare:
            everything = f"select count(*) from read_parquet($1) where message ilike '%{WORDS}%'"
            floor = _milliseconds(lambda: bare.execute(everything, [files]).fetchall()) if files else None
            return [
                self._beside_first(
                    Figure(
                        f"{size}: {WORDS!r} in the newest {NEWEST:,} (floor: at the first size)",
                        _milliseconds(lambda: client.aggregate_logs(by=["service"], filter=newest)),
                        "ms",
                        ratio_at_most=1.5,
                    )
                ),
                self._beside_first(
                    Figure(f"{size}: a search by meaning (floor: at the first size)", _searching(client), "ms", ratio_at_most=2.0)
                ),
                Figure(
                    f"{size}: {WORDS!r} in everything (floor: bare DuckDB)",
                    _milliseconds(lambda: client.aggregate_logs(filter=log_filter(contains=WORDS))),
                    "ms",
                    floor,
                    ratio_at_most=1.5 if files else None,
                ),
                Figure(f"{size}: sealed bytes a record", sum(map(os.path.getsize, files)) / max(self._records, 1), "bytes"),
            ]


def _searching(client: Client) -> float:
    numbers = iter(range(10**6))
    return _milliseconds(lambda: client.search_logs(SEARCHES[next(numbers) % len(SEARCHES)], mode="semantic", page_size=10))


def _milliseconds(work: Callable[[], object]) -> float:
    """The median of some rounds, after one that does not count."""
    found = []
    for _ in range(ROUNDS + 1):
        started = time.perf_counter()
        work()
        found.append((time.perf_counter() - started) * 1e3)
    return median(found[1:])


def measure(options: argparse.Namespace) -> list[Figure]:
    """A store for each number of attributes."""
    figures: list[Figure] = []
    for attributes in options.attributes:
        with tempfile.TemporaryDirectory(dir=options.dir) as folder, running(Path(folder) / "data", options.settings) as stack:
            growing = Growing(stack, attributes, options.dir)
            growing.begin()
            for millions in sorted(options.millions):
                figures += growing.grow_to(millions)
                print(f"{millions} million with {attributes} attributes: load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
    return figures


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write everything here as well")
    parser.add_argument(
        "--millions", type=int, nargs="+", default=[1, 10, 50], help="sizes of the store in million records (default 1 10 50)"
    )
    parser.add_argument("--attributes", type=int, nargs="+", default=[0, 3], choices=(0, 3), help="a store for each")
    parser.add_argument("--dir", type=Path, default=Path.cwd(), help="where the data directory is made")
    parser.set_defaults(settings={"TREERING_INGEST_DISK_RESERVE_BYTES": str(64 * 1024 * 1024)})
    return parser.parse_args(words)


def main() -> None:
    """Measures, prints, and ends with 1 if a promise was missed."""
    options = arguments(sys.argv[1:])
    check_space(options.dir, max(options.millions))
    figures = measure(options)
    memory = round(psutil.virtual_memory().total / 2**30, 1)
    load = {"millions": options.millions, "records_per_batch": 1_000, "seed": 1, "cores": os.cpu_count(), "memory_gib": memory}
    finish("growth", load, figures, options.json)


if __name__ == "__main__":
    main()
