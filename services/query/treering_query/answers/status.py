"""What the service says about itself to people (`GetQueryStatus`)."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pyarrow.compute as pc

from treering.v1 import query_pb2 as pb
from treering_query import limits
from treering_query.patterns.counts import total_counts
from treering_query.settings import QuerySettings
from treering_query.store.store import Store
from treering_query.view import hot
from treering_query.view.view import View
from treering_runtime.clocks import wall_ns
from treering_runtime.patterns import MASK_VERSION, NO_PATTERN


class Status:
    """Says what the store holds at this moment, and what is wrong with it. What grows with the store is counted on a thread of its own.

    Args:
        store: Of which it is told.
        settings: The limits in force.
    """

    def __init__(self, store: Store, settings: QuerySettings) -> None:
        self._store = store
        self._settings = settings
        self._started = wall_ns()
        self._deletes_by_age = bool(settings.retention_age_s or any(settings.retention_service_age_s.values()))
        # Not one of the questions' threads: a service that is busy still says how it is.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="status")

    def close(self) -> None:
        """Ends the thread; callers have been cancelled before."""
        self._thread.shutdown(cancel_futures=True)

    async def answer(self) -> pb.GetQueryStatusResponse:
        """The contract's answer."""
        # What belongs to the event loop, at one moment: a view is immutable, so it can be counted elsewhere.
        view, store = self._store.view, self._store
        answer = pb.GetQueryStatusResponse(
            seen=view.positions(),
            quarantined_count=sum(store.board.get(log_id).quarantined for log_id, _ in view.seen),
            mask_version=MASK_VERSION,
            start_time_unix_nano=self._started,
            limits=self._limits(),
            holes=store.board.holes.messages,
            retention_problem=store.clock.problem if self._deletes_by_age else "",
            retention_time_unix_nano=store.clock.now(),
        )
        reason = store.seal_problem
        counted = await asyncio.get_running_loop().run_in_executor(self._thread, self._counted, view, reason)
        answer.MergeFrom(counted)
        return answer

    def _counted(self, view: View, seal_problem: str) -> pb.GetQueryStatusResponse:
        """What takes longer, the more segments, chunks and patterns there are; and the disk, which may not answer at once."""
        hot_rows = hot.total_rows(view.hot)
        first, last = _times(view)
        free = self._store.disk_free_bytes()
        return pb.GetQueryStatusResponse(
            record_count=hot_rows + sum(segment.row_count for segment in view.segments),
            hot_record_count=hot_rows,
            hot_bytes=hot.total_bytes(view.hot),
            segment_count=len(view.segments),
            segment_bytes=sum(segment.size_bytes for segment in view.segments),
            pattern_count=view.pattern_count,
            first_time_unix_nano=first,
            last_time_unix_nano=last,
            problem=_problem(seal_problem, hot_rows, free),
            disk_free_bytes=free,
            without_pattern_count=total_counts(view, [NO_PATTERN]).get(NO_PATTERN, 0) if view.has_records_without_pattern else 0,
        )

    def _limits(self) -> dict[str, int]:
        fixed = {name.lower(): value for name, value in vars(limits).items() if name.isupper() and isinstance(value, int)}
        # What an operator has set; the other limits are the same in every installation.
        names = ("hot_max_rows", "hot_max_bytes", "query_memory_bytes", "sql_memory_bytes", "sql_max_result_bytes")
        return fixed | {name: getattr(self._settings, name) for name in names}


def _problem(reason: str, hot_rows: int, free: int) -> str:
    if not reason:
        return ""
    return (
        f"records cannot be sealed ({reason}): {hot_rows:,} are only in memory and in the log, and no new ones are taken once memory "
        f"is full; look at the disk of the query service, which has {free:,} bytes free"
    )


def _times(view: View) -> tuple[int, int]:
    bounds = [(segment.first_time, segment.last_time) for segment in view.segments]
    # Segments know their times; chunks are looked at.
    for chunk in view.hot:
        found = pc.min_max(chunk.table.column("time"))
        bounds.append((found["min"].value, found["max"].value))
    return min((first for first, _ in bounds), default=0), max((last for _, last in bounds), default=0)
