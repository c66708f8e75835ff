"""A burst of novelty: 200,000 records whose texts are all different, among ordinary ones. Measures what else suffers, and for how long.

    python bench/novelty.py [--novel N] [--json FILE] [--dir DIRECTORY]

The same number of ordinary records is sent before, without the burst, and looked at as often: that is the floor of the rates. Afterwards

- nothing may be lost: SQL counts every record of the burst;
- nothing may be blocked: door and SQL keep their rate while the model is behind by tens of thousands of texts;
- the lag of meaning grows, is shown by `treering status`, and drains; what is over the day's cap of a service is keyword-only, and counted;
- memory stays bounded.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from freshness import POLL_S
from load import BatchPool, Conditions
from load.sender import RawSender
from pipeline import PROMISED_MIB, peak_memory, service_processes
from report import Figure, finish
from stack import Stack, running

from treering import Client
from treering.selection import log_filter

ORDINARY_FOR_NOVEL = 5
"""Ordinary records for each novel one."""

NOVEL_SERVICE = "novelty"


@dataclass
class Lag:
    """The semantic lag over time, as the services tell it to `treering status` and to everyone."""

    pending: list[int] = field(default_factory=list)
    records: list[int] = field(default_factory=list)

    def look(self, client: Client) -> int:
        """Looks once; returns the patterns that wait for their vectors."""
        self.pending.append(client.get_embed_status().pending_count)
        self.records.append(next(sink.lag_records for sink in client.get_ingest_status().sinks if sink.name == "embed"))
        return self.pending[-1]

    @contextmanager
    def watched(self, stack: Stack) -> Iterator[None]:
        """Looks twice a second."""
        over = threading.Event()

        def watch() -> None:
            with stack.client() as client:
                while not over.wait(0.5):
                    self.look(client)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()


def send(stack: Stack, pool: BatchPool, batches: int) -> tuple[float, float]:
    """Acknowledged records/s, and records/s until SQL shows everything; meaning may be behind."""
    sender, producer_id = RawSender(stack.endpoints.ingest), uuid.uuid4().hex
    ready = [pool.batch(number, producer_id) for number in range(1, batches + 1)]
    started = time.perf_counter()
    response = sender.upload(ready)
    acknowledged = time.perf_counter() - started
    sender.close()
    if response.accepted_count != pool.count(batches):
        raise RuntimeError(f"{response.accepted_count} records were acknowledged, {pool.count(batches)} were sent")
    with stack.client() as client:
        while any(s.visible_end_offset < response.end_offset_exclusive for s in client.get_ingest_status().sinks if s.name == "query"):
            time.sleep(POLL_S)
    return pool.count(batches) / acknowledged, pool.count(batches) / (time.perf_counter() - started)


def until_drained(stack: Stack, lag: Lag, timeout_s: float) -> float:
    """Seconds until no pattern waits any more.

    Raises:
        TimeoutError: Some still did after `timeout_s` seconds.
    """
    started = time.monotonic()
    with stack.client() as client:
        while lag.look(client):
            if time.monotonic() - started > timeout_s:
                raise TimeoutError(f"{lag.pending[-1]} patterns still wait for their vectors")
            time.sleep(1.0)
    return time.monotonic() - started


def measure(options: argparse.Namespace) -> list[Figure]:
    """The ordinary load, then the same with the burst in it, on one store."""
    batches = options.novel * ORDINARY_FOR_NOVEL // 1_000
    with tempfile.TemporaryDirectory(dir=options.dir) as folder, running(Path(folder) / "data", options.settings) as stack:
        send(stack, BatchPool(Conditions(novel_every=0)), 200)
        until_drained(stack, Lag(), options.timeout_s)
        with Lag().watched(stack):
            plain_door, plain_sql = send(stack, BatchPool(Conditions(novel_every=0)), batches)
        lag, burst = Lag(), BatchPool(Conditions(novel_every=ORDINARY_FOR_NOVEL))
        with peak_memory(service_processes()) as watches:
            with lag.watched(stack):
                door, sql = send(stack, burst, batches)
            shown = int(json.loads(stack.command("status", "--json"))["embed"]["pending_count"])
            drained = until_drained(stack, lag, options.timeout_s)
        return figures_of(stack, options.novel, (door, plain_door), (sql, plain_sql), shown, lag, drained) + [
            Figure(f"peak memory of {name}", each.peak_mib, "MiB", at_most=PROMISED_MIB[name]) for name, each in watches.items()
        ]


def figures_of(
    stack: Stack, novel: int, door: tuple[float, float], sql: tuple[float, float], shown: int, lag: Lag, drained: float
) -> list[Figure]:
    """What came out; `door` and `sql` are rates with the burst and without, `shown` is what `treering status` said after it."""
    with stack.client() as client:
        kept = client.aggregate_logs(filter=log_filter(services=[NOVEL_SERVICE])).rows[0].values[0].value
        status = client.get_embed_status()
    indexed = max(lag.pending) / drained if drained else 0.0
    return [
        Figure("records of the burst in SQL, of those acknowledged", kept / novel, "ratio", at_least=1.0, at_most=1.0),
        Figure("acknowledged during the burst (floor: without it)", door[0], "records/s", door[1], ratio_at_least=0.5),
        Figure("in SQL during the burst (floor: without it)", sql[0], "records/s", sql[1], ratio_at_least=0.5),
        Figure("patterns that wait for their vector then, by `treering status`", shown, "patterns", at_least=1),
        Figure("  at most", max(lag.pending), "patterns"),
        Figure("  records behind the oldest of them, at most", max(lag.records), "records", at_least=1),
        Figure("until none waited any more", drained, "s"),
        Figure("  patterns a second meanwhile", indexed, "patterns/s"),
        Figure("over the day's cap: keyword-only, counted", status.keyword_only_count, "patterns"),
    ]


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write everything here as well")
    parser.add_argument("--novel", type=int, default=200_000, help="records with a text of their own (default 200,000)")
    parser.add_argument("--timeout-s", type=float, default=3_600.0, help="longest wait for meaning to catch up, seconds")
    parser.add_argument("--dir", type=Path, default=Path.cwd(), help="where the data directory is made")
    parser.set_defaults(settings={"TREERING_INGEST_DISK_RESERVE_BYTES": str(64 * 1024 * 1024)})
    return parser.parse_args(words)


def main() -> None:
    """Measures, prints, and ends with 1 if a promise was missed."""
    options = arguments(sys.argv[1:])
    figures = measure(options)
    load = {"novel": options.novel, "ordinary_for_novel": ORDINARY_FOR_NOVEL, "seed": 1, "cores": os.cpu_count()}
    finish("novelty", load, figures, options.json)


if __name__ == "__main__":
    main()
