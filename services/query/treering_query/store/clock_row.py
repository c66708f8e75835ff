"""What the catalog keeps of the retention clock: one row."""

from treering_query.store.catalog import Catalog
from treering_query.store.retention_clock import KeptTime

_TABLE = "create table if not exists retention_clock (last_time bigint, leap_s bigint, accepted varchar)"


class ClockRow:
    """Belongs to the catalog's thread; each change is followed by a checkpoint."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        catalog.connection.execute(_TABLE)

    def load(self) -> KeptTime | None:
        """What was kept last; None in a store that never kept it."""
        found = self._catalog.connection.execute("select last_time, leap_s, accepted from retention_clock").fetchall()
        return KeptTime(*found[0]) if found else None

    def keep(self, kept: KeptTime) -> None:
        """Keeps the time."""
        self._catalog.atomically(lambda: self._set(kept))

    def accept(self, kept: KeptTime) -> None:
        """Keeps a time that an operator set. Segments that a clock ahead of it sealed later have that age from now on."""

        def change() -> None:
            self._set(kept)
            self._catalog.connection.execute("update segments set sealed_time = $1 where sealed_time > $1", [kept.last_time])

        self._catalog.atomically(change)

    def _set(self, kept: KeptTime) -> None:
        run = self._catalog.connection
        run.execute("delete from retention_clock")
        run.execute("insert into retention_clock values (?::bigint, ?::bigint, ?)", [kept.last_time, kept.leap_s, kept.accepted])
