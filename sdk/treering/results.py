"""Results of SQL as Arrow, or as dictionaries."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from treering.errors import TreeringError
from treering.v1.query_pb2 import ExecuteSqlResponse, SqlSummary

if TYPE_CHECKING:
    import pyarrow as pa


class SqlResult:
    """The whole result of a SELECT.

    Attributes:
        arrow_ipc: The rows as one Arrow IPC stream, readable by any Arrow library.
        summary: Row count, whether it was truncated, time taken, which part of each log it includes.
    """

    def __init__(self, parts: Iterable[ExecuteSqlResponse]) -> None:
        chunks: list[bytes] = []
        self.summary = SqlSummary()
        for part in parts:
            chunks.append(part.arrow_ipc)
            if part.HasField("summary"):
                self.summary = part.summary
        # Parts of one Arrow stream: only joined they can be read, as the schema is in the first one alone.
        self.arrow_ipc = b"".join(chunks)

    def table(self) -> "pa.Table":
        """The rows as an Arrow table.

        Raises:
            TreeringError: pyarrow is not installed.
        """
        try:
            import pyarrow as pa  # noqa: PLC0415 - optional
        except ImportError:
            raise TreeringError('reading SQL results needs pyarrow: pip install "treering[arrow]"') from None
        with pa.ipc.open_stream(self.arrow_ipc) as reader:
            return reader.read_all()

    def rows(self) -> list[dict[str, Any]]:
        """The rows as dictionaries; times are integers, nanoseconds since 1970, as Python's datetime holds no nanoseconds.

        Raises:
            TreeringError: pyarrow is not installed.
        """
        table = self.table()
        import pyarrow as pa  # noqa: PLC0415 - optional, and there: `table` has used it

        columns = [_exact_times(pa, column) for column in table.columns]
        rows: list[dict[str, Any]] = pa.table(columns, names=table.column_names).to_pylist(maps_as_pydicts="lossy")
        return rows


def _exact_times(pa: Any, column: Any) -> Any:
    if not pa.types.is_timestamp(column.type):
        return column
    # To nanoseconds first: an integer must not depend on the unit in which the engine answered.
    return column.cast(pa.timestamp("ns", column.type.tz)).cast(pa.int64())
