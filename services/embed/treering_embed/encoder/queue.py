"""The one thread that runs the model, and who comes next: searches first, then texts of callers, then new patterns."""

import asyncio
import heapq
import itertools
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
from treering_embed.encoder import Encoded, Encoder, courtesy
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
    done: "Future[Any]" = field(compare=False)


class EncodeMetrics:
    """What Prometheus sees of the model's runs; one for all queues of a process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.seconds = Histogram("treering_embed_encode_seconds", "Duration of one run of the model, seconds", registry=registry)
        self.texts = Counter("treering_embed_encoded_texts", "Texts encoded", ["urgency"], registry=registry)
        about_pauses = "How long new patterns waited because others needed the cores, seconds"
        self.given_way = Counter("treering_embed_encode_given_way_seconds", about_pauses, registry=registry)
        self.waiting = Gauge("treering_embed_encode_waiting", "Jobs that wait for the model", ["urgency"], registry=registry)


class EncodeQueue:
    """Runs an encoder on a thread of its own, run by run; `close` ends it.

    Between two runs the most urgent job goes next, so a search waits for one run at most. Where cores are scarce, new patterns wait longer
    (see `courtesy`). A job whose caller is gone is skipped.

    Args:
        encoder: Belongs to the thread from now on.
        metrics: What is shown of the runs.
        pause_after: How long new patterns wait after a run for them: of its duration and of its thread's processor time, all in seconds.
    """

    def __init__(
        self, encoder: Encoder, metrics: EncodeMetrics, pause_after: Callable[[float, float], float] = courtesy.pause_after
    ) -> None:
        self.encoder = encoder
        self._metrics = metrics
        self._jobs: list[_Job] = []
        self._waiting = dict.fromkeys(Urgency, 0)
        self._numbers = itertools.count()
        self._wake = threading.Condition()
        self._closed = False
        self._pause_after = pause_after
        self._patterns_from = 0.0
        self._thread = threading.Thread(target=self._work, name="encoder", daemon=True)
        self._thread.start()

    async def encode(self, texts: Sequence[str], urgency: Urgency) -> Encoded:
        """Encodes texts of any number and length; results in their order.

        Raises:
            ServiceError: OVERLOADED, when too many others of this urgency wait.
        """
        self._admit(len(texts), urgency)
        runs = await self._cut(texts, urgency)
        futures = [self._submit(urgency, self.encoder.encode, [texts[index] for index in run], encodes=True) for run in runs]
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
            return cut(await asyncio.wrap_future(self._submit(urgency, self.encoder.lengths, texts, encodes=False)))
        except BaseException:
            self._count(urgency, -len(texts))
            raise

    def close(self) -> None:
        """Ends the thread after its current run; what waits is cancelled."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()
        for job in self._jobs:
            job.done.cancel()
            self._uncount(job)

    def _admit(self, count: int, urgency: Urgency) -> None:
        """Counts texts as waiting until their runs begin."""
        name, limit = _LIMITS.get(urgency, ("", 0))
        if name and self._waiting[urgency] + count > limit:
            message = f"{self._waiting[urgency]} texts wait for the model already; try again in {OVERLOAD_RETRY_S} s"
            raise ServiceError(ErrorReason.ERROR_REASON_OVERLOADED, message, metadata={"limit": name}, retry_after_s=OVERLOAD_RETRY_S)
        self._count(urgency, count)

    def _submit(self, urgency: Urgency, work: Callable[[Sequence[str]], Any], texts: Sequence[str], *, encodes: bool) -> "Future[Any]":
        job = _Job(urgency, next(self._numbers), work, texts, encodes, Future())
        with self._wake:
            heapq.heappush(self._jobs, job)
            self._wake.notify()
        return job.done

    def _uncount(self, job: _Job) -> None:
        if job.encodes:
            self._count(job.urgency, -len(job.texts))

    def _count(self, urgency: Urgency, change: int) -> None:
        with self._wake:
            self._waiting[urgency] += change
        self._metrics.waiting.labels(urgency.name.lower()).inc(change)

    def _next(self) -> _Job | None:
        with self._wake:
            while not self._closed and (pause := self._pause()) != 0:
                self._wake.wait(pause)
            if self._closed:
                return None
            job = heapq.heappop(self._jobs)
            self._uncount(job)
            return job

    def _pause(self) -> float | None:
        """Seconds until the next job may begin; None when there is none."""
        if not self._jobs:
            return None
        return max(self._patterns_from - time.perf_counter(), 0.0) if self._jobs[0].urgency is Urgency.PATTERNS else 0.0

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
        computed, ended = time.thread_time() - computed, time.perf_counter()
        if job.urgency is Urgency.PATTERNS:
            pause = self._pause_after(ended - started, computed)
            self._patterns_from = ended + pause
            self._metrics.given_way.inc(pause)
        if not job.encodes:
            return
        self._metrics.seconds.observe(ended - started)
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
