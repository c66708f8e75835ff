"""What is new, at scale: `python bench/compare.py [--records N] [--patterns N] [--store DIR] [--json FILE]`.

A store of a week is made (or taken from `--store`, where an earlier run left it), with so many patterns besides those of the fleet. Then
the real service runs on it, and comparisons and lists of patterns are asked through the rpc. Each is asked once before the clock runs.
Medians.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import query_store as store
from load.patterns import distinct_records
from load.records import RecordSource
from processes import query_running
from report import Figure, finish, of_runs

from treering import Client
from treering.channels import Endpoints
from treering.selection import log_filter

HOUR_NANOS = 3_600 * 10**9
END = store.FIRST_TIME + store.WEEK_NANOS
_POOL_RECORDS = 200_000


def comparisons(client: Client) -> dict[str, tuple[Callable[[], object], float | None]]:
    """What is asked, and the milliseconds that it may take."""
    hour = log_filter(since=END - HOUR_NANOS, until=END)
    week = log_filter(since=store.FIRST_TIME, until=END - HOUR_NANOS)
    day = log_filter(since=END - 25 * HOUR_NANOS, until=END - HOUR_NANOS)
    regions = [log_filter(where={"region": region}) for region in ("eu-1", "eu-2")]
    prod, staging = log_filter(environments=["prod"]), log_filter(environments=["staging"])
    return {
        "1 h with the 7 days before": (lambda: client.compare_patterns(hour, week), 300),
        "1 h with the 7 days before, by template": (lambda: client.compare_patterns(hour, week, unit="template"), None),
        "1 h with the 24 h before": (lambda: client.compare_patterns(hour, day), None),
        "two environments, everything (statistics)": (lambda: client.compare_patterns(prod, staging), None),
        "two values of an attribute, everything": (lambda: client.compare_patterns(*regions), None),
    }


def lists(client: Client) -> dict[str, tuple[Callable[[], object], float | None]]:
    """Pages of patterns, and the milliseconds that each may take."""
    hour = log_filter(since=END - HOUR_NANOS, until=END)
    return {
        "patterns, the most frequent (statistics)": (client.list_patterns, 60),
        "patterns, the newest (statistics)": (lambda: client.list_patterns(order="newest"), 60),
        "patterns, the most frequent, over time": (lambda: client.list_patterns(sparkline_buckets=24), None),
        "patterns, the fastest growing": (lambda: client.list_patterns(order="growth"), None),
        "patterns, the most frequent of the last hour": (lambda: client.list_patterns(filter=hour), None),
        "templates, the most frequent (statistics)": (lambda: client.list_patterns(unit="template"), None),
    }


def make_store(options: argparse.Namespace, directory: Path) -> None:
    """A week of records in a new directory."""
    records = [*RecordSource(1, 3).draw(_POOL_RECORDS - options.patterns), *distinct_records(options.patterns)]
    random.Random(1).shuffle(records)
    directory.mkdir(parents=True, exist_ok=True)
    store.fill(directory, store.pool(records), options.records, 500_000)


def measure(name: str, ask: Callable[[], object], rounds: int, at_most: float | None) -> Figure:
    """The median time of an answer, milliseconds."""
    ask()
    runs = []
    for _ in range(rounds):
        started = time.perf_counter()
        ask()
        runs.append((time.perf_counter() - started) * 1000)
    return of_runs(name, "ms", runs, [], **({"at_most": at_most} if at_most else {}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=10_000_000, help="records in the store")
    parser.add_argument("--patterns", type=int, default=20_000, help="patterns besides those of the fleet")
    parser.add_argument("--store", type=Path, help="where the store is, or is to be made and kept")
    parser.add_argument("--threads", type=int, default=2, help="of the service")
    parser.add_argument("--rounds", type=int, default=9, help="how often each comparison is asked")
    parser.add_argument("--json", type=Path, help="where to write the figures as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = options.store or Path(temporary)
        if not (directory / "segments").exists():
            make_store(options, directory)
        running = query_running(directory, query_threads=str(options.threads))
        with running as (address, _), Client(Endpoints(query=address), timeout=600) as client:
            asked = comparisons(client) | lists(client)
            figures = [measure(name, ask, options.rounds, limit) for name, (ask, limit) in asked.items()]
    load: dict[str, object] = {name: getattr(options, name) for name in ("records", "patterns", "threads", "rounds")}
    finish("compare", load, figures, options.json)


if __name__ == "__main__":
    main()
