"""Patterns of a whole batch, as columns."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from treering_runtime.pattern_id import pattern_id
from treering_runtime.patterns.coarse import mask_coarse
from treering_runtime.patterns.fine import mask_fine


@dataclass(frozen=True)
class PatternColumns:
    """The patterns of a batch.

    `pattern_ids` has one id for each record (uint64). The other fields describe the distinct patterns of the batch, in the order in which
    they first appear: their ids, services, masked texts, and the row of their first record. No id is there twice but `NO_PATTERN`, where
    the ids come from who knows the holders.
    """

    pattern_ids: pa.UInt64Array
    distinct_ids: pa.UInt64Array
    services: pa.StringArray
    texts: pa.StringArray
    first_rows: pa.Int64Array


IdOf = Callable[[str, str], int]
"""Gives a service and a masked message their id."""


def find_patterns(services: pa.StringArray, messages: pa.StringArray, id_of: IdOf = pattern_id) -> PatternColumns:
    """Masks a batch of records and gives each distinct pattern its id; both columns have the same length and no nulls."""
    coarse = mask_coarse(messages)
    # In Python, but for the distinct results of the coarse pass only.
    masked = pa.array([mask_fine(text) for text in coarse.dictionary.to_pylist()], pa.string()).dictionary_encode()
    service = services.dictionary_encode()
    # Through the dictionaries: row -> coarse text -> masked text, all by Arrow and NumPy.
    masked_index = masked.indices.to_numpy()[coarse.indices.to_numpy()]
    # One number for each pair of service and text. 64 bits: 32-bit indices would overflow in the product.
    pairs = service.indices.to_numpy().astype(np.int64) * max(len(masked.dictionary), 1) + masked_index
    return _spread(pairs, service.dictionary, masked.dictionary, id_of)


def _spread(
    pairs: "np.ndarray[tuple[int], np.dtype[np.int64]]", services: pa.StringArray, texts: pa.StringArray, id_of: IdOf
) -> PatternColumns:
    """Hashes each distinct (service, text) pair once and gives every row its pair's id."""
    # Encoding keeps the order of first appearance, which the docstring promises.
    encoded = pa.array(pairs).dictionary_encode()
    distinct = encoded.dictionary.to_numpy()
    width = max(len(texts), 1)
    service_column, text_column = services.take(pa.array(distinct // width)), texts.take(pa.array(distinct % width))
    ids = pa.array(map(id_of, service_column.to_pylist(), text_column.to_pylist()), pa.uint64())
    rows = encoded.indices.to_numpy()
    first_rows = np.full(len(distinct), len(rows), np.int64)
    # `minimum.at` and not indexing: several rows write to one place, and the least of them must stay.
    np.minimum.at(first_rows, rows, np.arange(len(rows)))
    return PatternColumns(ids.take(encoded.indices), ids, service_column, text_column, pa.array(first_rows))
