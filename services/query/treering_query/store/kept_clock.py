"""The retention clock of a store: kept in its catalog, set by its operator."""

from collections.abc import Sequence
from pathlib import Path

import structlog

from treering_query.retention.clock_order import read_clock_order
from treering_query.retention.retention_clock import SYSTEM_CLOCKS, Clocks, KeptTime, RetentionClock
from treering_query.sealed.sealing import Sealer
from treering_query.store.sealed_files import SealedFiles
from treering_query.values.segment import Segment
from treering_runtime.errors import StartError

_LOG = structlog.get_logger()

_DAY_S = 86_400


class KeptClock:
    """Keeps the last known time, carries out the operator's orders, and says what waits.

    Args:
        directory: The data directory, where the operator's orders are.
        files: Changes the catalog.
        clocks: Of the machine.
    """

    def __init__(self, directory: Path, files: SealedFiles, clocks: Clocks = SYSTEM_CLOCKS) -> None:
        self._directory = directory
        self._files = files
        self._clocks = clocks
        self._too_old = ""
        """Id of an order that came too late: it is not carried out when the clock shows its time once more."""

    async def open(self, segments: Sequence[Segment]) -> None:
        """Goes on from what the catalog kept, or, in a store of an earlier version, from when the newest record of `segments` arrived."""
        kept = await self._files.change(lambda sealer: sealer.load_clock())
        # By another machine's clock, but nothing better is known of a store that kept no time.
        newest = max((segment.last_arrival_time for segment in segments), default=None)
        self._clock = RetentionClock(self._clocks, kept, newest)
        # Kept at once: the ages of segments count from a time that a crash must not change.
        if not kept:
            await self._files.change(lambda sealer: sealer.set_clock(self._clock.kept))
        if self.leapt:
            _LOG.error("nothing is deleted by age", problem=self.problem)

    def now(self) -> int:
        """Nanoseconds since 1970, on a clock that cannot leap."""
        return self._clock.now()

    @property
    def leapt(self) -> bool:
        """Whether deletion by age waits for the operator."""
        return self._clock.leap_s != 0

    @property
    def problem(self) -> str:
        """Why deletion by age waits and what to do, for people; empty when it does not."""
        if not self.leapt:
            return ""
        return (
            f"the clock of this machine leapt by {_in_words(self._clock.leap_s)}: nothing is deleted by age until somebody has looked. "
            "Set the clock right, then run `treering store accept-clock DIR` with query's data directory"
        )

    async def turn(self) -> None:
        """Looks at the clocks, carries out an order, keeps the time.

        Raises:
            Exception: The catalog cannot be changed now; the next turn does it. A leap is noted all the same.
        """
        # on the thread of the seals: a segment is of before the order, and its time moves with the clock, or of after it
        await self._files.change(self._turn)

    def _turn(self, sealer: Sealer) -> None:
        # To log a leap once and not at every turn.
        before = self.leapt
        # Before the time is kept: what is kept includes the leap, so a restart does not forget it.
        self._clock.look()
        if self.leapt and not before:
            _LOG.error("nothing is deleted by age", problem=self.problem)
        # Without an order the time alone is kept, each turn: a crash costs no more than one turn.
        if not (accepted := self._accepted()):
            sealer.keep_clock(self._clock.kept)
            return
        # In one transaction with the ages of segments: they keep their age, whatever the jump.
        sealer.set_clock(accepted, accepted.last_time - self.now())
        # after the commit: a clock that runs on before it would delete what a restart does not know to be accepted
        self._clock.restart(accepted)
        _LOG.warning("the operator accepted the clock; deletion by age goes on", time_unix_nano=accepted.last_time)

    async def keep(self) -> None:
        """Makes the time last."""
        await self._files.change(lambda sealer: sealer.keep_clock(self._clock.kept))

    def _accepted(self) -> KeptTime | None:
        try:
            order = read_clock_order(self._directory)
        # An order that cannot be read is an operator's mistake; it must not stop the clock from being kept.
        except StartError as error:
            _LOG.warning("an order about the clock is not carried out", problem=str(error))
            return None
        # The file of an order stays where it is: it is known by its id, so that it is carried out once.
        if order is None or order.order_id in (self._clock.accepted, self._too_old):
            return None
        # An order is an assurance about the clock of a certain moment. It does not hold for a later one.
        if not (accepted := self._clock.accepting(*order)):
            self._too_old = order.order_id
            _LOG.warning("an order about the clock is not carried out: it is over an hour old, or the clock leapt after it; give it again")
        return accepted


def _in_words(leap_s: int) -> str:
    size, sign = abs(leap_s), "-" if leap_s < 0 else "+"
    return f"{sign}{size / _DAY_S:,.1f} days" if size >= _DAY_S else f"{sign}{size / 3600:.1f} hours"
