"""What the catalog keeps of the retention clock: one row."""

from treering_query.retention.retention_clock import KeptTime
from treering_query.sealed.duckdb_file import DuckDbFile

CLOCK_TABLE = "create table if not exists retention_clock (last_time bigint, leap_s bigint, accepted varchar);"
"""A table of its own, so that a catalog of an earlier version gets it without a change of the others."""

# `least` keeps a record from being sealed in the future: it would stay longer than the policy says.
_MOVED = """
update segments set sealed_time = least(coalesce(sealed_time, epoch_ns(last_arrival_time)) + $shift::bigint, $now::bigint)
"""


class ClockRow:
    """Belongs to the thread of the catalog's file; each change is followed by a checkpoint."""

    def __init__(self, file: DuckDbFile) -> None:
        self._file = file

    def load(self) -> KeptTime | None:
        """What was kept last; None in a store that never kept it."""
        # No row in a store that was made by a version without this clock: its ages then begin with arrivals.
        found = self._file.connection.execute("select last_time, leap_s, accepted from retention_clock").fetchall()
        return KeptTime(*found[0]) if found else None

    def keep(self, kept: KeptTime) -> None:
        """Keeps the time."""
        # In one transaction: a crash between delete and insert would leave a store whose clock begins anew.
        self._file.atomically(lambda: self._set(kept))

    def set(self, kept: KeptTime, shift: int) -> None:
        """Keeps a time that begins or that an operator set; segments keep their ages, as the clock moves by `shift`.

        Segments of a version that had no such clock were sealed when their newest record arrived, by the clock that dated it, but not later
        than now.
        """

        # A kept time without an order's id comes from a start, not from an operator: it is not looked up.
        def change() -> None:
            # The time and the ages together: with one alone, records would be too old or too young by the shift.
            self._set(kept)
            self._file.connection.execute(_MOVED, {"shift": shift, "now": kept.last_time})

        # An order has an id for this reason.
        if kept.accepted and (found := self.load()) and found.accepted == kept.accepted:
            return  # an attempt that seemed to fail was committed: ages would move twice
        # Only after the look above: the shift is relative, so it must be applied once.
        self._file.atomically(change)

    def _set(self, kept: KeptTime) -> None:
        run = self._file.connection
        # One row, replaced.
        run.execute("delete from retention_clock")
        run.execute("insert into retention_clock values (?::bigint, ?::bigint, ?)", [kept.last_time, kept.leap_s, kept.accepted])
