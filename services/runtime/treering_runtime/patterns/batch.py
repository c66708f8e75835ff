"""Patterns of a whole batch, as columns."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import xxhash

from treering_runtime.patterns.coarse import mask_coarse
from treering_runtime.patterns.fine import mask_fine


@dataclass(frozen=True)
class PatternColumns:
    """The patterns of a batch.

    `pattern_ids` has one id for each record (uint64). The other fields describe the distinct patterns of the batch, no id twice, in the
    order in which they first appear: their ids, services, masked texts, and the row of their first record.
    """

    pattern_ids: pa.UInt64Array
    distinct_ids: pa.UInt64Array
    services: pa.StringArray
    texts: pa.StringArray
    first_rows: pa.Int64Array


def pattern_id(service: str, masked: str) -> int:
    """The id of a pattern. A service that holds a zero byte seeds the hash with its length, so that nothing else has the same input."""
    name = service.encode()
    return xxhash.xxh3_64_intdigest(name + b"\0" + masked.encode(), seed=len(name) if b"\0" in name else 0)


def find_patterns(services: pa.StringArray, messages: pa.StringArray) -> PatternColumns:
    """Masks and hashes a batch of records; both columns have the same length and no nulls."""
    coarse = mask_coarse(messages)
    masked = pa.array([mask_fine(text) for text in coarse.dictionary.to_pylist()], pa.string()).dictionary_encode()
    service = services.dictionary_encode()
    masked_index = masked.indices.to_numpy()[coarse.indices.to_numpy()]
    pairs = service.indices.to_numpy().astype(np.int64) * max(len(masked.dictionary), 1) + masked_index
    return _spread(pairs, service.dictionary, masked.dictionary)


def _spread(pairs: "np.ndarray[tuple[int], np.dtype[np.int64]]", services: pa.StringArray, texts: pa.StringArray) -> PatternColumns:
    """Hashes each distinct (service, text) pair once and gives every row its pair's hash."""
    encoded = pa.array(pairs).dictionary_encode()
    distinct = encoded.dictionary.to_numpy()
    width = max(len(texts), 1)
    service_column, text_column = services.take(pa.array(distinct // width)), texts.take(pa.array(distinct % width))
    ids = pa.array(map(pattern_id, service_column.to_pylist(), text_column.to_pylist()), pa.uint64())
    rows = encoded.indices.to_numpy()
    first_rows = np.full(len(distinct), len(rows), np.int64)
    np.minimum.at(first_rows, rows, np.arange(len(rows)))
    spread = ids.take(encoded.indices)
    kept = _first_of_each(ids)
    return PatternColumns(spread, *(column.take(kept) for column in (ids, service_column, text_column, pa.array(first_rows))))


def _first_of_each(ids: pa.UInt64Array) -> pa.Int64Array:
    """The first place of each id: where two patterns have one id, the later one has the description of the earlier one, as ever after."""
    _, places = np.unique(ids.to_numpy(), return_index=True)
    return pa.array(np.sort(places))
