"""How soon acknowledged records are in the answers: acknowledgements on one side, progress of the sinks on the other.

    python bench/freshness.py [--json FILE] [--rounds N] [--seconds N] [--dir DIRECTORY]

By itself it measures new kinds of line on a machine that other programs use, each kind from its acknowledgement until it is found by
meaning: 100 at once beside sixteen processes that compute, and beside two that read and write; 20 a second beside two that compute.
"""

import argparse
import os
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from load import BatchPool, Conditions
from load.sender import RawSender
from processes import COMPUTES, READS_AND_WRITES, strangers
from report import Figure, finish
from stack import Stack, running

Seconds = np.ndarray[tuple[int], np.dtype[np.float64]]

LONGEST_WAIT_S = 600.0
"""Until new kinds are found, at worst: a run beside others that takes longer has missed its promise by far."""

POLL_S = 0.005
"""How often ingest is asked how far its sinks are; found delays are too long by up to so much."""


@dataclass(frozen=True)
class Offered:
    """What happened to each batch of a paced upload; times are seconds of one clock.

    Args:
        ends: One past the last offset of the batch.
        acknowledged: When the client knew that it is durable.
        visible: By sink, when ingest knew that it is in the sink's answers.
        novel: Whether the batch holds a record of a new kind.
    """

    ends: "np.ndarray[tuple[int], np.dtype[np.int64]]"
    acknowledged: Seconds
    visible: dict[str, Seconds]
    novel: "np.ndarray[tuple[int], np.dtype[np.bool_]]"

    def in_sql(self) -> Seconds:
        """From acknowledged to visible in SQL, sorted."""
        return np.sort(self._delays(self.visible["query"]))

    def by_meaning(self, *, novel: bool) -> Seconds:
        """From acknowledged until a search that waits for it finds it by meaning, sorted: batches with a record of a new kind, or without.

        A search waits for everything before a position, so a known kind waits for the new ones before it.
        """
        both = np.maximum(self.visible["query"], self.visible["embed"])
        return np.sort(self._delays(both)[self.novel == novel])

    def _delays(self, visible: Seconds) -> Seconds:
        return np.asarray(np.maximum(visible - self.acknowledged, 0.0), np.float64)


class ProgressWatch(threading.Thread):
    """Notes when the sinks come further, until `stop`."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(daemon=True)
        self.seen: dict[str, list[tuple[float, int]]] = {"query": [], "embed": []}
        self._stack = stack
        self._end = threading.Event()

    def run(self) -> None:
        """Asks again and again."""
        with self._stack.client() as client:
            while not self._end.wait(POLL_S):
                for sink in client.get_ingest_status().sinks:
                    steps = self.seen[sink.name]
                    if not steps or steps[-1][1] != sink.visible_end_offset:
                        steps.append((time.perf_counter(), sink.visible_end_offset))

    def stop(self) -> None:
        """Ends the asking."""
        self._end.set()
        self.join()


def offer(stack: Stack, pool: BatchPool, records_per_s: int, seconds: float, timeout_s: float = 60.0) -> Offered:
    """Sends at a rate for some seconds, and waits until everything is in all answers.

    Raises:
        TimeoutError: It was not within `timeout_s` seconds after the last acknowledgement.
    """
    watch = ProgressWatch(stack)
    watch.start()
    try:
        numbers, ends, acknowledged = _send(stack.endpoints.ingest, pool, records_per_s, seconds)
        until = time.monotonic() + timeout_s
        while any(not steps or steps[-1][1] < ends[-1] for steps in watch.seen.values()):
            if time.monotonic() > until:
                raise TimeoutError("what was acknowledged is not in the answers")
            time.sleep(POLL_S)
    finally:
        watch.stop()
    visible = {sink: _when(steps, ends) for sink, steps in watch.seen.items()}
    size, every = pool.conditions.records_per_batch, pool.conditions.novel_every
    novel = (numbers * size // every) > ((numbers - 1) * size // every)
    return Offered(ends, acknowledged, visible, novel)


def _send(
    address: str, pool: BatchPool, records_per_s: int, seconds: float
) -> tuple["np.ndarray[tuple[int], np.dtype[np.int64]]", "np.ndarray[tuple[int], np.dtype[np.int64]]", Seconds]:
    sender, producer_id = RawSender(address), uuid.uuid4().hex
    pause = pool.conditions.records_per_batch / records_per_s
    batches = int(seconds / pause)
    begin = time.perf_counter()

    def paced() -> Iterator[bytes]:
        for number in range(1, batches + 1):
            time.sleep(max(0.0, begin + number * pause - time.perf_counter()))
            yield pool.batch(number, producer_id)

    numbers, acknowledged = np.arange(1, batches + 1), np.zeros(batches)
    known, last_end = 0, 0
    for response in sender.stream(paced()):
        acknowledged[known : response.last_durable_sequence] = time.perf_counter()
        known, last_end = response.last_durable_sequence, response.end_offset_exclusive
    sender.close()
    counts = np.array([pool.count(int(number)) for number in numbers])
    return numbers, counts - counts[-1] + last_end, acknowledged


def _when(steps: list[tuple[float, int]], ends: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> Seconds:
    """The time of the first step at or past each end."""
    times, offsets = (np.array(column) for column in zip(*steps, strict=True))
    return np.asarray(times[np.searchsorted(offsets, ends)], np.float64)


def new_kinds(stack: Stack, options: argparse.Namespace) -> Iterator[Figure]:
    """Beside each kind of strangers; every round has kinds of its own."""
    known = BatchPool(Conditions(pool_records=1_000, novel_every=1_000_000))
    offer(stack, known, 1_000, 1.0, LONGEST_WAIT_S)
    number = 0
    for name, program, count in (("none", COMPUTES, 0), ("16 that compute", COMPUTES, 16), ("2 that read and write", READS_AND_WRITES, 2)):
        worst = []
        with strangers(program, count, options.dir):
            for _ in range(options.rounds):
                number += 1
                pool = BatchPool(Conditions(records_per_batch=100, pool_records=1_000, novel_every=1, novel_from=1_000 * number))
                worst.append(offer(stack, pool, 100, 1.0, LONGEST_WAIT_S).by_meaning(novel=True)[-1])
        yield Figure(f"100 new kinds beside {name}: the last, worst of {options.rounds}", max(worst), "s", at_most=12.0, runs=tuple(worst))
    with strangers(COMPUTES, 2, options.dir):
        pool = BatchPool(Conditions(records_per_batch=1, pool_records=1_000, novel_every=1, novel_from=1_000_000))
        found = offer(stack, pool, 20, options.seconds, LONGEST_WAIT_S).by_meaning(novel=True)
    yield Figure("20 new kinds a second beside 2 that compute, p50", float(found[len(found) // 2]), "s")
    yield Figure("20 new kinds a second beside 2 that compute, p99", float(found[len(found) * 99 // 100]), "s", at_most=5.0)


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write everything here as well")
    parser.add_argument("--rounds", type=int, default=5, help="times that 100 new kinds are sent, beside each (default 5)")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of the paced run (default 30)")
    parser.add_argument("--dir", type=Path, default=Path.cwd(), help="where the data directory is made, and strangers read and write")
    return parser.parse_args(words)


def main() -> None:
    """Measures, prints, and ends with 1 if a promise was missed."""
    options = arguments(sys.argv[1:])
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        options.dir = Path(folder)
        with running(options.dir / "data") as stack:
            figures = list(new_kinds(stack, options))
    load = {"rounds": options.rounds, "seconds": options.seconds, "seed": 1, "cores": os.cpu_count()}
    finish("freshness beside others", load, figures, options.json)


if __name__ == "__main__":
    main()
