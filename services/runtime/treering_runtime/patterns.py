"""Patterns: what stays of a message when its variable parts are masked, and the id of that.

Masking is a pure function of (service, message), in every process and after every restart. It runs in two passes:

- *coarse*, over every record of a batch, by Arrow's RE2 (linear time): each token that holds a digit becomes `<*>`;
- *fine*, over the distinct results of the first pass only, in Python and cached: tokens that are variable without holding a digit.

`pattern_id` = xxh3_64(service, a zero byte, masked message), unsigned.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from treering_runtime.limits import MAX_PATTERN_TEXT_CHARACTERS

MASK_VERSION = 1
"""Number of the masking rules. Ids of different versions do not mix; it changes whenever any rule below does."""

MASK = "<*>"
"""Stands for a variable part."""

_SEPARATORS = r"\s\"'(){}\[\]<>,;=|"
COARSE_RULE = rf"[^{_SEPARATORS}]*[0-9][^{_SEPARATORS}]*"
"""A token that holds a digit: RE2 syntax, also valid for Python's `re` on text without exotic white space."""

_CACHE_ENTRIES = 65_536


@dataclass(frozen=True)
class PatternColumns:
    """The patterns of a batch.

    `pattern_ids` has one id for each record (uint64). The other fields describe the distinct patterns of the batch, in the order
    in which they first appear: their ids, services, masked texts, and the row of their first record.
    """

    pattern_ids: pa.UInt64Array
    distinct_ids: pa.UInt64Array
    services: pa.StringArray
    texts: pa.StringArray
    first_rows: pa.Int64Array


def pattern_id(service: str, masked: str) -> int:
    """The id of a pattern."""
    return xxhash.xxh3_64_intdigest(f"{service}\0{masked}".encode())


@lru_cache(maxsize=_CACHE_ENTRIES)
def mask_fine(coarse: str) -> str:
    """The second pass, over one coarsely masked text."""
    return " ".join(_token(token) for token in coarse.split())


def _token(token: str) -> str:
    return MASK if token.count("/") >= 2 or ("@" in token and "." in token) else token


def _coarse(messages: pa.StringArray) -> pa.DictionaryArray:
    if (pc.max(pc.binary_length(messages)).as_py() or 0) > MAX_PATTERN_TEXT_CHARACTERS:
        messages = pc.utf8_slice_codeunits(messages, 0, MAX_PATTERN_TEXT_CHARACTERS)
    return pc.replace_substring_regex(messages, pattern=COARSE_RULE, replacement=MASK).dictionary_encode()


def find_patterns(services: pa.StringArray, messages: pa.StringArray) -> PatternColumns:
    """Masks and hashes a batch of records; both columns have the same length and no nulls."""
    coarse = _coarse(messages)
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
    return PatternColumns(ids.take(encoded.indices), ids, service_column, text_column, pa.array(first_rows))
