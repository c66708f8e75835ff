"""Attributes in columns: one map for each record, each key once in it.

The wire allows a key several times in one map, and databases do not: DuckDB fails on the whole batch that holds such a map. As Protocol
Buffers say, the last value of a key counts. A different value before it stays as the attribute `treering.duplicate.<key>`; several are
joined by line feeds, in their order, each once. A sender's own attribute of that name comes first among them.

A key that is too long is cut, and kept whole as the value of the attribute `treering.attribute_key`; of several, the last one is there and
the others are beside it as duplicates.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from treering_runtime.names import cut, too_long

DUPLICATE_PREFIX = "treering.duplicate."
"""What stands before the key under which a value is kept that another value of the same key replaced."""

LONG_KEY = "treering.attribute_key"
"""Under which key a key is kept that was too long."""

_TABLE_BYTES_PER_ENTRY = 32
"""How large the table of keys by rows may be: up to here it is faster than a hash table."""

_Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Entries:
    """Entries of maps, in the order of the rows that they belong to."""

    rows: _Numbers
    keys: pa.StringArray
    values: pa.StringArray

    def take(self, indices: _Numbers) -> "Entries":
        """Some of the entries, in this order."""
        chosen = pa.array(indices)
        return Entries(self.rows[indices], self.keys.take(chosen), self.values.take(chosen))


def named(key: str, rows: _Numbers, values: pa.StringArray) -> Entries:
    """Entries of one key, a value for each of the rows."""
    return Entries(rows, pa.repeat(_text(key), len(rows)), values)


def with_short_keys(attributes: pa.MapArray) -> tuple[pa.MapArray, list[Entries]]:
    """The attributes with long keys cut, and entries that keep these whole. Without a copy where none is long."""
    entries = _entries(attributes)
    long = too_long(entries.keys)
    if not long.any():
        return attributes, []
    short = Entries(entries.rows, cut(entries.keys, long), entries.values)
    places = np.flatnonzero(long)
    return _as_maps(short, len(attributes)), [named(LONG_KEY, entries.rows[places], entries.keys.take(pa.array(places)))]


def with_unique_keys(attributes: pa.MapArray, additions: Iterable[Entries]) -> pa.MapArray:
    """The attributes with entries added behind those of their row, each key once. Without a copy where nothing is to be done."""
    parts = [_entries(attributes), *additions]
    entries = _by_row(parts) if len(parts) > 1 else parts[0]
    if _has_repeated_keys(entries, len(attributes)):
        entries = _unique(entries)
    return attributes if entries is parts[0] else _as_maps(entries, len(attributes))


def _entries(attributes: pa.MapArray) -> Entries:
    offsets = attributes.offsets.to_numpy()
    # A slice of a batch shares the entries of the whole: only those from the first offset on belong to it.
    first, end = int(offsets[0]), int(offsets[-1])
    rows = np.repeat(np.arange(len(attributes)), np.diff(offsets))
    return Entries(rows, attributes.keys[first:end], attributes.items[first:end])


def _as_maps(entries: Entries, row_count: int) -> pa.MapArray:
    ends = np.cumsum(np.bincount(entries.rows, minlength=row_count))
    offsets = pa.array(np.concatenate([[0], ends]), pa.int32())
    return pa.MapArray.from_arrays(offsets, entries.keys, entries.values)


def _by_row(parts: Iterable[Entries]) -> Entries:
    """The entries of all parts in the order of their rows; within a row, those of an earlier part come first."""
    columns = [(part.rows, part.keys, part.values) for part in parts]
    rows, keys, values = zip(*columns, strict=True)
    joined = Entries(np.concatenate(rows), pa.concat_arrays(keys), pa.concat_arrays(values))
    # Stable, so that within a row the record's own entries stay before what is added: the last value of a key counts.
    return joined.take(np.argsort(joined.rows, kind="stable"))


def _places(entries: Entries) -> tuple[_Numbers, int]:
    """A number for each entry, the same for the same key of the same row; and how many keys there are."""
    # One number for row and key: the dictionary is of this batch, so the product stays far below 64 bits.
    encoded = entries.keys.dictionary_encode()
    return entries.rows * len(encoded.dictionary) + encoded.indices.to_numpy(), len(encoded.dictionary)


def _has_repeated_keys(entries: Entries, row_count: int) -> bool:
    places, key_count = _places(entries)
    # A table of booleans is faster than a hash table, until there are many more combinations than entries.
    if row_count * key_count > len(places) * _TABLE_BYTES_PER_ENTRY:
        return int(pc.count_distinct(pa.array(places)).as_py()) < len(places)
    table = np.zeros(row_count * key_count, np.bool_)
    table[places] = True
    return int(np.count_nonzero(table)) < len(places)


def _unique(entries: Entries) -> Entries:
    """Each key of a row once: the last value under the key itself, the others under the key of duplicates."""
    places, _ = _places(entries)
    order = np.argsort(places, kind="stable")
    # Sorted by place, the last of each run of equal places is the last value on the wire, which is the one that counts.
    is_last = np.append(np.diff(places[order]) != 0, True)[: len(order)]
    groups = np.cumsum(is_last) - is_last
    winners, replaced = order[is_last], order[~is_last]
    replaced = _different(entries.values, replaced, winners, groups[~is_last])
    kept = entries.take(np.sort(replaced))
    prefixed = pc.binary_join_element_wise(_text(DUPLICATE_PREFIX), kept.keys, _text(""))
    return _joined(_by_row([entries.take(np.sort(winners)), Entries(kept.rows, prefixed, kept.values)]))


def _different(values: pa.StringArray, replaced: _Numbers, winners: _Numbers, groups: _Numbers) -> _Numbers:
    """Of the replaced entries those whose value is neither the winner's nor that of an earlier one."""
    encoded = values.dictionary_encode()
    codes = encoded.indices.to_numpy()
    differs = codes[replaced] != codes[winners[groups]]
    _, firsts = np.unique(groups[differs] * len(encoded.dictionary) + codes[replaced[differs]], return_index=True)
    kept: _Numbers = replaced[differs][firsts]
    return kept


def _joined(entries: Entries) -> Entries:
    """Entries of the same key and row made one, their values joined by line feeds."""
    places, _ = _places(entries)
    order = np.argsort(places, kind="stable")
    starts = np.flatnonzero(np.diff(places[order], prepend=-1))
    lists = pa.ListArray.from_arrays(pa.array(np.append(starts, len(order)), pa.int32()), entries.values.take(pa.array(order)))
    firsts = order[starts]
    # Back into the order of the wire, so that a map reads as it was sent.
    in_order = np.argsort(firsts)
    one = entries.take(firsts[in_order])
    return Entries(one.rows, one.keys, pc.binary_join(lists, _text("\n")).take(pa.array(in_order)))


def _text(value: str) -> pa.StringScalar:
    """A text that says its type: where Arrow has to find it out, it looks for a package that is not installed, 0.4 ms each time."""
    return pa.scalar(value, pa.string())
