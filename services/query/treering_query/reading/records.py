"""Rows of `logs` as messages of the contract."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from treering.v1.log_pb2 import LogRecord, Position, StoredRecord
from treering_runtime.fitting import count_fitting
from treering_runtime.resources import compacted, of_text


def stored_records(table: pa.Table) -> list[StoredRecord]:
    """One message for each row, in order; `table` has the columns of `LOGS_SCHEMA`."""
    return list(_stored(table))


def _stored(table: pa.Table) -> Iterator[StoredRecord]:
    # A column at a time: one conversion for each column instead of one for each value.
    columns = {name: table.column(name).to_pylist() for name in table.column_names if name not in {"time", "arrival_time"}}
    resources = {text: of_text(text) for text in set(columns["resource"])}
    times, arrivals = nanoseconds(table.column("time")), nanoseconds(table.column("arrival_time"))
    for row in range(table.num_rows):
        record = LogRecord(
            time_unix_nano=times[row],
            severity=columns["severity"][row],
            service=columns["service"][row],
            environment=columns["environment"][row],
            message=columns["message"][row],
            # its own last: they win
            attributes={**resources[columns["resource"][row]], **dict(columns["attributes"][row])},
            trace_id=columns["trace_id"][row],
            span_id=columns["span_id"][row],
        )
        position = Position(log_id=columns["log_id"][row], offset=columns["offset"][row])
        yield StoredRecord(position=position, record=record, arrival_time_unix_nano=arrivals[row], pattern_id=columns["pattern_id"][row])


def nanoseconds(times: pa.ChunkedArray) -> list[int]:
    """Times as nanoseconds since 1970."""
    # As integers: Python's datetime has no nanoseconds.
    numbers: list[int] = times.cast(pa.int64()).to_pylist()
    return numbers


def within_bytes(table: pa.Table, budget: int) -> pa.Table:
    """The first rows of a table, as many as fit into `budget` bytes of an answer; at least one."""
    return table.slice(0, count_fitting(row_sizes(table).tolist(), budget))


def row_sizes(table: pa.Table) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """What each row takes in an answer, encoded, bytes: never less, and at most a few bytes more for each text."""
    service, environment, message, attributes = (
        _lengths(table.column(name)) for name in ("service", "environment", "message", "attributes")
    )
    return _RECORD_BYTES + service + environment + message + attributes + _resource_sizes(table.column("resource"))


_RECORD_BYTES = 128
"""What a record takes in an answer besides its texts, at most: numbers, ids, and the tags and lengths of all."""

_ENTRY_BYTES = 13
"""The same for one attribute: three tags, and the lengths of a key of up to 16 KiB, of its value and of both."""


def _lengths(column: pa.ChunkedArray) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    # A sum over Arrow's own lengths: no text becomes a Python object.
    sizes = [_array_lengths(chunk) for chunk in column.chunks]
    joined: np.ndarray[tuple[int], np.dtype[np.int64]] = np.concatenate([np.empty(0, np.int64), *sizes])
    return joined


def _resource_sizes(column: pa.ChunkedArray) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    # What a set takes in an answer is known once for each: the bytes of its text, where each attribute has six of punctuation.
    sets = compacted(column)
    counts = pc.count_substring(sets.dictionary, '":"').to_numpy(zero_copy_only=False)
    sizes = pc.binary_length(sets.dictionary).to_numpy(zero_copy_only=False).astype(np.int64) + (_ENTRY_BYTES - 6) * counts
    found: np.ndarray[tuple[int], np.dtype[np.int64]] = sizes[sets.indices.to_numpy()]
    return found


def _array_lengths(array: pa.Array) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    if not pa.types.is_map(array.type):
        lengths: np.ndarray[tuple[int], np.dtype[np.int64]] = pc.binary_length(array).to_numpy(zero_copy_only=False)
        return lengths.astype(np.int64)
    keys, items = (_array_lengths(part) for part in (array.keys, array.items))
    ends = np.concatenate([[0], np.cumsum(keys + items + _ENTRY_BYTES)])
    offsets = array.offsets.to_numpy()
    # A slice of a map array keeps the offsets of the whole, its keys and items are those of the slice.
    offsets = offsets - offsets[0]
    sizes: np.ndarray[tuple[int], np.dtype[np.int64]] = ends[offsets[1:]] - ends[offsets[:-1]]
    return sizes
