"""The one thread that runs the model, and who comes next: searches first, then texts of callers, then new patterns."""

import asyncio
import heapq
import itertools
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from treering.v1.error_pb2 import ErrorReason
from treering_embed.encoder import Encoded, Encoder
from treering_embed.encoder.backoff import Backoff
from treering_embed.encoder.runs import cut
from treering_embed.limits import MAX_WAITING_SEARCHES, MAX_WAITING_TEXTS, OVERLOAD_RETRY_S
from treering_runtime.errors import ServiceError


class Urgency(IntEnum):
    """Who waits; lower goes first."""

    SEARCH = 0
    TEXTS = 1
    PATTERNS = 2


_LIMITS = {Urgency.SEARCH: ("max_waiting_searches", MAX_WAITING_SEARCHES), Urgency.TEXTS: ("max_waiting_texts", MAX_WAITING_TEXTS)}


@dataclass(order=True)
class _Job:
    urgency: Urgency
    number: int
    work: Callable[[Sequence[str]], Any] = field(compare=False)
    texts: Sequence[str] = field(compare=False)
    encodes: bool = field(compare=False)
    give_way_until: float = field(compare=False)
    done: "Future[Any]" = field(compare=False)


class EncodeMetrics:
    """What Prometheus sees of the model's runs; one for all queues of a process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.seconds = Histogram("treering_embed_encode_seconds", "Duration of one run of the model, seconds", registry=registry)
        self.texts = Counter("treering_embed_encoded_texts", "Texts encoded", ["urgency"], registry=registry)
        about_pauses = "How long new patterns waited because our sinks were behind the log and needed the cores, seconds"
        self.given_way = Counter("treering_embed_encode_given_way_seconds", about_pauses, registry=registry)
        self.waiting = Gauge("treering_embed_encode_waiting", "Jobs that wait for the model", ["urgency"], registry=registry)


class EncodeQueue:
    """Runs an encoder on a thread of its own, run by run; `close` ends it.

    Between two runs the most urgent job goes next, so a search waits for one run at most. While the log is ahead of the sinks, new patterns
    may wait longer (see `backoff`). A job whose caller is gone is skipped.

    Args:
        encoder: Belongs to the thread from now on.
        metrics: What is shown of the runs.
        backoff: When new patterns wait; it belongs to the thread too.
    """

    def __init__(self, encoder: Encoder, metrics: EncodeMetrics, backoff: Backoff) -> None:
        self.encoder = encoder
        self._metrics = metrics
        self._backoff = backoff
        self._jobs: list[_Job] = []
        self._waiting = dict.fromkeys(Urgency, 0)
        self._numbers = itertools.count()
        self._wake = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="encoder", daemon=True)
        self._thread.start()

    async def encode(self, texts: Sequence[str], urgency: Urgency, give_way_until: float = math.inf) -> Encoded:
        """Encodes texts of any number and length; results in their order.

        Args:
            texts: What is encoded.
            urgency: Who waits for it.
            give_way_until: Of new patterns: when they give way to nobody any more, as `time.monotonic` says it.

        Raises:
            ServiceError: OVERLOADED, when too many others of this urgency wait; STARTING, when the queue is closed.
        """
        self._admit(len(texts), urgency)
        runs = await self._cut(texts, urgency)
        futures = [
            self._submit(urgency, self.encoder.encode, [texts[index] for index in run], encodes=True, give_way_until=give_way_until)
            for run in runs
        ]
        try:
            parts = await asyncio.gather(*map(asyncio.wrap_future, futures))
        except BaseException:
            for future in futures:
                future.cancel()
            raise
        return _in_order(runs, parts, len(texts))

    async def _cut(self, texts: Sequence[str], urgency: Urgency) -> list[list[int]]:
        """Runs of similar length; to measure a single text would only cost time."""
        if len(texts) == 1:
            return [[0]]
        try:
            # counting wordpieces is short: it gives way to nobody
            lengths = self._submit(urgency, self.encoder.lengths, texts, encodes=False, give_way_until=-math.inf)
            return cut(await asyncio.wrap_future(lengths))
        except BaseException:
            self._count(urgency, -len(texts))
            raise

    def close(self) -> None:
        """Ends the thread after its current run; what waits, and whoever comes later, is told that the queue is closed."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()
        # nothing is added any more: `_submit` looks at `_closed` under the same lock; each job leaves: a second `close` refuses none
        while self._jobs:
            self._refuse(self._jobs.pop())

    def _admit(self, count: int, urgency: Urgency) -> None:
        """Counts texts as waiting until their runs begin."""
        name, limit = _LIMITS.get(urgency, ("", 0))
        if name and self._waiting[urgency] + count > limit:
            message = f"{self._waiting[urgency]} texts wait for the model already; try again in {OVERLOAD_RETRY_S} s"
            raise ServiceError(ErrorReason.ERROR_REASON_OVERLOADED, message, metadata={"limit": name}, retry_after_s=OVERLOAD_RETRY_S)
        self._count(urgency, count)

    def _submit(
        self, urgency: Urgency, work: Callable[[Sequence[str]], Any], texts: Sequence[str], *, encodes: bool, give_way_until: float
    ) -> "Future[Any]":
        job = _Job(urgency, next(self._numbers), work, texts, encodes, give_way_until, Future())
        with self._wake:
            if not self._closed:
                heapq.heappush(self._jobs, job)
                self._wake.notify()
                return job.done
        # the thread that would take it has ended: it would wait for ever
        self._refuse(job)
        return job.done

    def _refuse(self, job: _Job) -> None:
        self._uncount(job)
        if job.done.set_running_or_notify_cancel():
            message = "the model was just replaced, or the service stops; try again in a few seconds"
            job.done.set_exception(ServiceError(ErrorReason.ERROR_REASON_STARTING, message))

    def _uncount(self, job: _Job) -> None:
        if job.encodes:
            self._count(job.urgency, -len(job.texts))

    def _count(self, urgency: Urgency, change: int) -> None:
        with self._wake:
            self._waiting[urgency] += change
        self._metrics.waiting.labels(urgency.name.lower()).inc(change)

    def _next(self) -> _Job | None:
        with self._wake:
            while not self._closed and (not self._jobs or (pause := self._pause(self._jobs[0]))):
                self._wait(pause if self._jobs else None)
            if self._closed:
                return None
            job = heapq.heappop(self._jobs)
            self._uncount(job)
            return job

    def _pause(self, job: _Job) -> float:
        """Seconds until the job may begin."""
        return self._backoff.wait_s(job.give_way_until) if job.urgency is Urgency.PATTERNS else 0.0

    def _wait(self, pause: float | None) -> None:
        """Waits for something to change; of a pause, what was really waited is counted: a search may end it."""
        began = time.perf_counter()
        self._wake.wait(pause)
        if pause is not None:
            self._metrics.given_way.inc(time.perf_counter() - began)

    def _work(self) -> None:
        while job := self._next():
            if job.done.set_running_or_notify_cancel():
                self._run(job)

    def _run(self, job: _Job) -> None:
        started, computed = time.perf_counter(), time.thread_time()
        try:
            job.done.set_result(job.work(job.texts))
        except Exception as error:  # noqa: BLE001 - belongs to whoever waits for it, not to this thread
            job.done.set_exception(error)
        if not job.encodes:
            return
        computed, duration = time.thread_time() - computed, time.perf_counter() - started
        if job.urgency is Urgency.PATTERNS:
            self._backoff.ran(duration, computed)
        self._metrics.seconds.observe(duration)
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
