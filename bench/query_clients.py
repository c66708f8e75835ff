"""Many clients ask while records arrive: `python bench/query_clients.py [--clients N] [--seconds S] [--json FILE]`.

The whole product runs as a user starts it and is sent 50,000 records/s. Each client asks one question after the other, each time of another
kind, without a pause. Every answer must be an answer or RESOURCE_EXHAUSTED with RetryInfo, which the client heeds; anything else
fails the run. Meanwhile the time from an acknowledgement until the answers of query include the record says whether questions hold
delivery up.
"""

import argparse
import itertools
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from freshness import offer
from load import BatchPool, Conditions
from report import Figure, finish
from stack import Stack, running

from treering import Client, OverloadedError, log_filter
from treering.errors import TreeringError

OFFERED_PER_S = 50_000
LAST_MINUTE_S = 60
TIMEOUT_S = 60.0

Question = Callable[[Client], object]


def questions(log_id: int) -> dict[str, Question]:
    """What is asked, by kind."""
    return {
        "counts by service and severity": lambda client: client.aggregate_logs(by=["service", "severity"]),
        "histogram of the last minute": lambda client: client.aggregate_logs(
            by=["severity"], bucket_s=5, filter=log_filter(since=time.time_ns() - LAST_MINUTE_S * 10**9)
        ),
        "contains, last minute": lambda client: client.aggregate_logs(
            filter=log_filter(contains="timeout", since=time.time_ns() - LAST_MINUTE_S * 10**9)
        ),
        "search": lambda client: client.search_logs("card was refused by the bank"),
        "newest 100": lambda client: next(client.tail_logs(backlog=100)),
        "context": lambda client: client.get_log_context(1_000, log_id=log_id),
        "patterns": lambda client: client.list_patterns(page_size=50),
        "sql": lambda client: client.sql("select severity, count(*) from logs group by 1"),
    }


class Asking(threading.Thread):
    """One client that asks until it is told to stop.

    Attributes:
        seconds: Duration of each answer, by kind.
        refused: How often it was told to come back later.
        failed: Errors that must not be.
    """

    def __init__(self, stack: Stack, asked: dict[str, Question], number: int, end: threading.Event) -> None:
        super().__init__(daemon=True)
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.refused = 0
        self.failed: list[str] = []
        self._stack = stack
        self._end = end
        kinds = list(asked.items())
        self._turns = itertools.cycle(kinds[number % len(kinds) :] + kinds[: number % len(kinds)])

    def run(self) -> None:
        """Asks."""
        with self._stack.client(timeout=TIMEOUT_S) as client:
            while not self._end.is_set():
                self._ask(client, *next(self._turns))

    def _ask(self, client: Client, kind: str, question: Question) -> None:
        started = time.perf_counter()
        try:
            question(client)
            self.seconds[kind].append(time.perf_counter() - started)
        except OverloadedError as error:
            if error.retry_after_s is None:
                self.failed.append(f"{kind}: refused without a delay: {error}")
            self.refused += 1
            self._end.wait(error.retry_after_s)
        except TreeringError as error:
            self.failed.append(f"{kind}: {error.code.name} {error}")


def ask_while_sending(stack: Stack, clients: int, seconds: float) -> tuple[list[Asking], list[Figure]]:
    """Runs all clients beside the upload."""
    with stack.client() as client:
        log_id = client.get_ingest_status().log_id
    end = threading.Event()
    asked = questions(log_id)
    askers = [Asking(stack, asked, number, end) for number in range(clients)]
    pool = BatchPool(Conditions())
    offer(stack, pool, OFFERED_PER_S, 5)
    for asker in askers:
        asker.start()
    try:
        delays = offer(stack, pool, OFFERED_PER_S, seconds).in_sql()
    finally:
        end.set()
        for asker in askers:
            asker.join()
    lags = [Figure(f"acknowledged to SQL, p{part}", float(np.percentile(delays, part)) * 1e3, "ms") for part in (50, 99)]
    return askers, lags


def figures(askers: list[Asking]) -> list[Figure]:
    """Latencies by kind, and how many questions there were."""
    found = []
    for kind in sorted({kind for asker in askers for kind in asker.seconds}):
        all_seconds = np.array([each for asker in askers for each in asker.seconds[kind]]) * 1e3
        found += [Figure(f"{kind} ({len(all_seconds)}), p{part}", float(np.percentile(all_seconds, part)), "ms") for part in (50, 95)]
    failed = [each for asker in askers for each in asker.failed]
    for each in sorted(set(failed))[:10]:
        print("FAILED", each)
    refused = sum(asker.refused for asker in askers)
    return [*found, Figure("told to come back later", refused, "questions"), Figure("failed", len(failed), "questions", at_most=0)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=32, help="how many ask at a time")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long")
    parser.add_argument("--json", type=Path, help="where to write the figures as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, running(Path(directory)) as stack:
        askers, lags = ask_while_sending(stack, options.clients, options.seconds)
    load = {"clients": options.clients, "seconds": options.seconds, "records_per_s": OFFERED_PER_S}
    finish("query_clients", load, [*figures(askers), *lags], options.json)


if __name__ == "__main__":
    main()
