"""The columns of the store's tables."""

from collections.abc import Iterator

import pyarrow as pa

from treering_runtime.columns import SCHEMA

# The order of columns is that of the files and of every view over them.
LOGS_SCHEMA = SCHEMA.append(pa.field("pattern_id", pa.uint64(), nullable=False))
"""Columns of `logs` in the store."""

COUNTS_SCHEMA = pa.schema(
    [
        pa.field("pattern_id", pa.uint64(), nullable=False),
        pa.field("environment", pa.string(), nullable=False),
        pa.field("severity", pa.uint8(), nullable=False),
        pa.field("count", pa.int64(), nullable=False),
        pa.field("first_time", pa.timestamp("ns"), nullable=False),
        pa.field("last_time", pa.timestamp("ns"), nullable=False),
    ]
)
"""Statistics of records: a row for each pattern, environment and severity."""

PATTERNS_SCHEMA = pa.schema(
    [
        pa.field("pattern_id", pa.uint64(), nullable=False),
        pa.field("service", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("example", pa.string(), nullable=False),
        pa.field("first_log_id", pa.uint64()),
        pa.field("first_offset", pa.uint64()),
    ]
)
"""A row for each known pattern, with the position of its first record; null where that was not kept, by stores of older versions.

Records whose pattern has no id of its own (`NO_PATTERN`) share a row, while there are any, so that whatever joins patterns counts them.
"""

NO_PATTERN_TEXT = "(records that belong to no pattern, because another one has their id)"
"""What the row says that these share."""

# The template's text stands in each row: lists show it without a join.
LISTED_SCHEMA = PATTERNS_SCHEMA.append(pa.field("template_id", pa.uint64(), nullable=False)).append(
    pa.field("template_text", pa.string(), nullable=False)
)
"""The same with the template that the pattern belongs to."""


def kinds(patterns: pa.Table) -> Iterator[tuple[int, str, str]]:
    """Id, service and text of each row of `PATTERNS_SCHEMA`."""
    # Python objects for each pattern: only for the start and for a check, not for questions.
    return zip(*(patterns.column(name).to_pylist() for name in ("pattern_id", "service", "text")), strict=True)
