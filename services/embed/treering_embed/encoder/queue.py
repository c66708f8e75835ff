"""The one thread that runs the model, and who comes next: searches first, then texts of callers, then new patterns."""

import asyncio
import heapq
import itertools
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from treering.v1.error_pb2 import ErrorReason
from treering_embed.encoder import Encoded, Encoder
from treering_embed.limits import (
    MAX_ENCODE_TEXTS,
    MAX_ENCODE_WORDPIECES,
    MAX_WAITING_SEARCHES,
    MAX_WAITING_TEXTS,
    MAX_WORDPIECES,
    OVERLOAD_RETRY_S,
)
from treering_runtime.errors import ServiceError


class Urgency(IntEnum):
    """Who waits; lower goes first."""

    SEARCH = 0
    TEXTS = 1
    PATTERNS = 2


_LIMITS = {Urgency.SEARCH: ("max_waiting_searches", MAX_WAITING_SEARCHES), Urgency.TEXTS: ("max_waiting_texts", MAX_WAITING_TEXTS)}

_CHARACTERS_A_WORDPIECE = 3


@dataclass(order=True)
class _Job:
    urgency: Urgency
    number: int
    texts: Sequence[str] = field(compare=False)
    done: "Future[Encoded]" = field(compare=False)


def batches(texts: Sequence[str]) -> list[list[int]]:
    """Cuts texts into runs of the model: by index, similar lengths together, bounded by texts and by wordpieces with padding.

    Wordpieces are estimated from characters: counting them costs as much as a search, and only the bound on a run depends on it.
    """
    lengths = [min(len(text) // _CHARACTERS_A_WORDPIECE + 2, MAX_WORDPIECES) for text in texts]
    runs: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if runs and len(runs[-1]) < MAX_ENCODE_TEXTS and lengths[index] * (len(runs[-1]) + 1) <= MAX_ENCODE_WORDPIECES:
            runs[-1].append(index)
        else:
            runs.append([index])
    return runs


class EncodeMetrics:
    """What Prometheus sees of the model's runs; one for all queues of a process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.seconds = Histogram("treering_embed_encode_seconds", "Duration of one run of the model, seconds", registry=registry)
        self.texts = Counter("treering_embed_encoded_texts", "Texts encoded", ["urgency"], registry=registry)
        self.waiting = Gauge("treering_embed_encode_waiting", "Jobs that wait for the model", ["urgency"], registry=registry)


class EncodeQueue:
    """Runs an encoder on a thread of its own, run by run; `close` ends it.

    Between two runs the most urgent job goes next, so a search waits for one run at most. A job whose caller is gone is skipped.
    """

    def __init__(self, encoder: Encoder, metrics: EncodeMetrics) -> None:
        self.encoder = encoder
        self._metrics = metrics
        self._jobs: list[_Job] = []
        self._waiting = dict.fromkeys(Urgency, 0)
        self._numbers = itertools.count()
        self._wake = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="encoder", daemon=True)
        self._thread.start()

    async def encode(self, texts: Sequence[str], urgency: Urgency) -> Encoded:
        """Encodes texts of any number and length; results in their order.

        Raises:
            ServiceError: OVERLOADED, when too many others of this urgency wait.
        """
        self._admit(len(texts), urgency)
        runs = batches(texts)
        futures = [self._submit([texts[index] for index in run], urgency) for run in runs]
        try:
            parts = await asyncio.gather(*map(asyncio.wrap_future, futures))
        except BaseException:
            for future in futures:
                future.cancel()
            raise
        return _in_order(runs, parts, len(texts))

    def close(self) -> None:
        """Ends the thread after its current run; what waits is cancelled."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()
        for job in self._jobs:
            job.done.cancel()
            self._count(job.urgency, -len(job.texts))

    def _admit(self, count: int, urgency: Urgency) -> None:
        name, limit = _LIMITS.get(urgency, ("", 0))
        if name and self._waiting[urgency] + count > limit:
            message = f"{self._waiting[urgency]} texts wait for the model already; try again in {OVERLOAD_RETRY_S} s"
            raise ServiceError(ErrorReason.ERROR_REASON_OVERLOADED, message, metadata={"limit": name}, retry_after_s=OVERLOAD_RETRY_S)

    def _submit(self, texts: Sequence[str], urgency: Urgency) -> "Future[Encoded]":
        job = _Job(urgency, next(self._numbers), texts, Future())
        with self._wake:
            heapq.heappush(self._jobs, job)
            self._count(urgency, len(texts))
            self._wake.notify()
        return job.done

    def _count(self, urgency: Urgency, change: int) -> None:
        self._waiting[urgency] += change
        self._metrics.waiting.labels(urgency.name.lower()).inc(change)

    def _next(self) -> _Job | None:
        with self._wake:
            self._wake.wait_for(lambda: self._jobs or self._closed)
            if self._closed:
                return None
            job = heapq.heappop(self._jobs)
            self._count(job.urgency, -len(job.texts))
            return job

    def _work(self) -> None:
        while job := self._next():
            if job.done.set_running_or_notify_cancel():
                self._run(job)

    def _run(self, job: _Job) -> None:
        started = time.perf_counter()
        try:
            job.done.set_result(self.encoder.encode(job.texts))
        except Exception as error:  # noqa: BLE001 - belongs to whoever waits for it, not to this thread
            job.done.set_exception(error)
        self._metrics.seconds.observe(time.perf_counter() - started)
        self._metrics.texts.labels(job.urgency.name.lower()).inc(len(job.texts))


def _in_order(runs: list[list[int]], parts: Sequence[Encoded], count: int) -> Encoded:
    """Puts the results of several runs back into the order of the texts."""
    dense = np.empty((count, parts[0].dense.shape[1]), np.float32)
    tokens, pieces = [parts[0].tokens[0]] * count, [parts[0].pieces[0]] * count
    for run, part in zip(runs, parts, strict=True):
        dense[run] = part.dense
        for position, index in enumerate(run):
            tokens[index], pieces[index] = part.tokens[position], part.pieces[position]
    return Encoded(dense, tokens, pieces)
