"""The store: hot records, sealed segments, and snapshots of both."""

from collections.abc import Callable
from typing import TypeVar

from treering_query.store.engine import Engine
from treering_query.store.snapshot import Snapshot
from treering_query.store.view import View
from treering_runtime.progress import ProgressBoard

T = TypeVar("T")


class Store:
    """Everything that was logged. Belongs to one event loop."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._view = View()
        self.board = ProgressBoard()

    def snapshot(self) -> Snapshot:
        """Everything that is visible now; close it, or use it as a context manager."""
        return Snapshot(self._view, self._engine.cursor(), lambda: None)

    async def run(self, snapshot: Snapshot, work: Callable[[Snapshot], T], timeout_s: float | None = None) -> T:
        """Runs blocking `work(snapshot)` on a thread, bounded in number, interrupted after `timeout_s` seconds or on cancellation.

        Several runs on one snapshot see the same moment; await one before the next.
        """
        return await self._engine.run(snapshot, work, timeout_s)
