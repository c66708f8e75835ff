"""How soon acknowledged records are in the answers: acknowledgements on one side, progress of the sinks on the other."""

import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from load import BatchPool
from load.sender import RawSender
from stack import Stack

Seconds = np.ndarray[tuple[int], np.dtype[np.float64]]

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
