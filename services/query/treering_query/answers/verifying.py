"""VerifyStore: the check of the sealed store while it serves, on a thread beside the questions."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from treering.v1 import admin_pb2 as pb
from treering_query.sealed.check import CheckProgress, StoreProblem, check
from treering_query.store.store import Store
from treering_runtime.admission import Admission

T = TypeVar("T")

_SAY_AT_LEAST_S = 1.0
"""Longest silence between two messages while segments are read, seconds: each one is a sign of life."""


class Verifying:
    """Runs one check at a time: a second one would read the same files.

    Args:
        store: What is checked. Segments found damaged are refused to questions from then on.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        # No queue: a second check would begin when the first has answered the same.
        self._admission = Admission("verify", 1, 0)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="verify")

    def close(self) -> None:
        """Ends the thread; the check has been cancelled before."""
        self._thread.shutdown()

    async def run(self) -> AsyncGenerator[pb.VerifyStoreResponse]:
        """How far the check is, until it is complete.

        Raises:
            ServiceError: OVERLOADED while another check runs.
        """
        # The slot first: the inventory holds the files of all segments.
        async with self._admission.slot(None), self._store.inventory() as inventory:
            segments = inventory.sealed.segments
            steps, done, said = check(inventory), CheckProgress(), 0.0
            total_bytes = sum(segment.size_bytes for segment in segments)
            while step := await self._finished(lambda: next(steps, None)):
                # Before the caller hears of it: questions are refused from the same moment.
                self._remember(step)
                finished, done = step.segments > done.segments, step
                # Most steps take a tenth of a second, and are not worth a message.
                if finished or step.problems or time.monotonic() - said >= _SAY_AT_LEAST_S:
                    yield progress_message(step, len(segments), total_bytes)
                    said = time.monotonic()
            # Only here: a stream that is cut off is not taken for a sound store.
            last = progress_message(CheckProgress(done.segments, done.records, done.size_bytes), len(segments), total_bytes)
            last.complete = True
            last.holes.extend(self._store.board.holes.messages)
            yield last

    async def _finished(self, work: Callable[[], T]) -> T:
        """Runs work on the thread, to its end even when the caller goes away: the files that it reads are held only so long."""
        running = asyncio.get_running_loop().run_in_executor(self._thread, work)
        try:
            # A generator that runs on a thread cannot be interrupted between two records; a step is a batch of records, or the checksum of
            # a file.
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            # Without a timeout: the snapshot may be let go only when the file is closed.
            await asyncio.wait({running})
            raise

    def _remember(self, step: CheckProgress) -> None:
        for found in step.problems:
            if found.damaged:
                self._store.damage.mark(found.damaged)


def progress_message(step: CheckProgress, segments: int, total_bytes: int) -> pb.VerifyStoreResponse:
    """What VerifyStore says of one step of a check of so many segments with so many bytes."""
    return pb.VerifyStoreResponse(
        checked_segment_count=step.segments,
        segment_count=segments,
        checked_record_count=step.records,
        checked_bytes=step.size_bytes,
        total_bytes=total_bytes,
        problems=map(_problem, step.problems),
    )


def _problem(found: StoreProblem) -> pb.StoreProblem:
    return pb.StoreProblem(file=found.file, problem=found.problem, is_damage=found.is_damage)
