"""Records that many tails want, as messages that are made once."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from treering.v1.log_pb2 import StoredRecord
from treering_query.reading.records import row_sizes, stored_records
from treering_runtime.fitting import count_fitting


class _Content:
    """Records, and the messages that were made of them."""

    def __init__(self, records: pa.Table) -> None:
        self.records = records
        self.sizes = row_sizes(records)
        self.made: dict[int, StoredRecord] = {}


class SharedRecords:
    """Some records, for whoever wants one of them, as messages; until they are dropped, because there are too many of them by now.

    Read by the event loop; may be dropped from another thread at any moment.
    """

    def __init__(self, records: pa.Table) -> None:
        content = _Content(records)
        self._content: _Content | None = content
        # Of the table. The messages that are made of it come on top and are about as large.
        self._size_bytes = int(content.sizes.sum())

    @property
    def size_bytes(self) -> int:
        """What they take, about; 0 when they were dropped."""
        return self._size_bytes if self._content else 0

    def drop(self) -> None:
        """Gives back the memory."""
        # One assignment: the loop works with the content that it has taken, or finds None.
        self._content = None

    def first(self, rows: npt.NDArray[np.int64], budget: int) -> list[StoredRecord] | None:
        """The first of some rows, as many as fit into `budget` bytes of an answer; at least one.

        Each message is made once for all. None when not all of them are there.
        """
        # Taken once: another thread may drop it between two lines.
        content = self._content
        if content is None or (rows < 0).any():
            return None
        # At least one, or a record larger than the budget would stop its tail for ever; and only what no tail has asked for yet.
        wanted = rows[: count_fitting(content.sizes[rows].tolist(), budget)].tolist()
        missing = [row for row in wanted if row not in content.made]
        if missing:
            content.made |= dict(zip(missing, stored_records(content.records.take(missing)), strict=True))
        return [content.made[row] for row in wanted]
