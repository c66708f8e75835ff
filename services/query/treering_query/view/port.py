"""The store as those see it who only ask it."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from treering.v1.log_pb2 import Position
from treering_query.view.snapshot import Snapshot
from treering_runtime.progress import ProgressBoard

T = TypeVar("T")


class Records(Protocol):
    """The store, as far as searches need it."""

    board: ProgressBoard

    async def wait_visible(self, positions: Sequence[Position], timeout_s: float | None) -> None:
        """Waits until `positions`, and what was visible before a restart, are visible."""

    def snapshot(self) -> Snapshot:
        """Everything that is visible now."""

    async def run(self, snapshot: Snapshot, work: Callable[[Snapshot], T], timeout_s: float | None = None) -> T:
        """Runs blocking work on a thread."""
