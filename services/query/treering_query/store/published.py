"""What is visible, who reads it, and which files wait until nobody does."""

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from treering_query.sealed.damage import Damage
from treering_query.sealed.sealed_state import SealBatch, SealedState
from treering_query.values.segment import Segment
from treering_query.view.engine import SnapshotEngine
from treering_query.view.snapshot import Snapshot
from treering_query.view.view import View
from treering_runtime.quarantine import records_by_log


class Published:
    """The present `View`, replaced whole at each step. Belongs to one event loop; snapshots may be closed on any thread.

    A segment that a change took out of the view is *retired*: its file stays until no snapshot holds it.

    Args:
        engine: Runs the questions of snapshots.
        damage: The segments that are known to be damaged.
    """

    def __init__(self, engine: SnapshotEngine, damage: Damage) -> None:
        self.view = View()
        self.sealing: SealBatch | None = None
        """The batch that is on its way into a segment; its records are visible as hot ones."""
        # Compared by identity: the sealer makes a new value for each change.
        self._shown: SealedState | None = None
        self._engine = engine
        self._damage = damage
        # By segment id: how many snapshots read it. Behind the lock, as snapshots end on other threads.
        self._holds: Counter[int] = Counter()
        self._lock = threading.Lock()
        # On the event loop only.
        self._retired: dict[int, Segment] = {}

    def snapshot(self) -> Snapshot:
        """Everything that is visible now; close it, or use it as a context manager."""
        view = self.view
        held = [segment.segment_id for segment in view.segments]
        # The view was read on the loop and nothing was awaited since: no file of it can be removed before it is held here.
        with self._lock:
            self._holds.update(held)
        return Snapshot(view, self._engine.cursor, lambda: self._let_go(held), self._damage)

    def begin_sealing(self, batch: SealBatch) -> None:
        """The active records are this batch from now on, and new ones are gathered apart from them."""
        # Both lines without an await: the records are in exactly one of the two parts of the view.
        self.sealing = batch
        self.view = replace(self.view, sealing=self.view.active, active=())

    def show_sealed(self, state: SealedState) -> None:
        """Shows what the catalog has.

        In one step with the segment of the batch that is being sealed, once it is committed, its records leave memory: no snapshot has them
        twice or not at all.
        """
        if state is self._shown:
            return  # the sessions that wait for the next question belong to the view: it is not replaced by its like
        self._shown = state
        kept = {segment.segment_id for segment in state.segments}
        # Before the view is replaced: afterwards nobody could tell which segments have left.
        self._retired |= {each.segment_id: each for each in self.view.segments if each.segment_id not in kept}
        # Another change may show its state while the batch is still on its way: then its records stay.
        if self.sealing and self.sealing.batch_id == state.last_batch:
            self.sealing = None
            self.view = replace(self.view, sealing=())
        # Both replacements happen in one step of the loop, so no snapshot is taken between them.
        self.view = replace(self.view, segments=state.segments, sealed_counts=state.counts, expired=state.expired)

    def quarantined(self, log_id: int) -> int:
        """Quarantined records of a log that are sealed or being sealed."""
        # In the catalog only once the batch is: until then they are counted here.
        on_the_way = records_by_log(self.sealing.quarantine.set_aside) if self.sealing else {}
        sealed = self._shown.quarantined if self._shown else {}
        return sealed.get(log_id, 0) + on_the_way.get(log_id, 0)

    def held(self) -> int:
        """How many segments some snapshot holds."""
        with self._lock:
            return len(self._holds)

    def retired(self) -> list[Segment]:
        """The segments that left the view and whose files are not removed yet."""
        return list(self._retired.values())

    def unread(self) -> list[Segment]:
        """Those of them that no snapshot holds; none will again, as it would have to begin with a view that has them."""
        with self._lock:
            return [segment for segment in self._retired.values() if segment.segment_id not in self._holds]

    def removed(self, segment: Segment) -> None:
        """The file of a retired segment is gone."""
        # After the file: if its removal failed, it stays listed for the next turn.
        del self._retired[segment.segment_id]

    def _let_go(self, held: Iterable[int]) -> None:
        # On any thread: a question ends where it ran.
        with self._lock:
            self._holds.subtract(held)
            self._holds += Counter()  # drops the zeros
