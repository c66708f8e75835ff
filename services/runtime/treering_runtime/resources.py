"""Resources in columns: what holds for all records of a batch, one text for each distinct set.

A set of attributes is a text: a JSON object of texts with its keys in order, so that equal sets are equal texts; no attributes are the
empty text. In a column such texts are dictionary-coded, in memory as in files: a set is stored once, and its records hold a number.
"""

import json
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

RESOURCE = pa.dictionary(pa.int32(), pa.string())
"""The type of a column of resources."""

NO_RESOURCE = ""
"""The text of a set without an attribute."""


def as_text(resource: Mapping[str, str]) -> str:
    """The text of a set."""
    return json.dumps(dict(sorted(resource.items())), ensure_ascii=False, separators=(",", ":")) if resource else NO_RESOURCE


def of_text(text: str) -> dict[str, str]:
    """The set of a text."""
    resource: dict[str, str] = json.loads(text) if text else {}
    return resource


def of_frames(resources: pa.MapArray, counts: npt.NDArray[np.int64]) -> pa.DictionaryArray:
    """The column of the records of some frames: of each frame its resource, and how many records it has."""
    offsets = resources.offsets.to_numpy()
    if offsets[0] == offsets[-1]:
        return none(int(counts.sum()))
    # In columns: frames may be many, of few records each. Python sees each distinct set only, here and in `as_text`.
    codes, firsts = _distinct(resources, offsets)
    # Two frames that name their attributes in another order have the same set: equal texts must not stand twice in a dictionary.
    texts: dict[str, int] = {}
    numbers = [texts.setdefault(as_text(dict(resources[int(first)].as_py())), len(texts)) for first in firsts]
    rows = np.repeat(np.array(numbers, np.int32)[codes], counts)
    return pa.DictionaryArray.from_arrays(pa.array(rows, pa.int32()), pa.array(list(texts), pa.string()))


def none(row_count: int) -> pa.DictionaryArray:
    """The column of records without a resource."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(row_count, np.int32)), pa.array([NO_RESOURCE], pa.string()))


def compacted(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """A column, of this type or of texts, with the sets that occur in it, each once: a part of a column still has all sets of the whole."""
    whole = column.cast(RESOURCE).combine_chunks()
    used, codes = np.unique(whole.indices.to_numpy(), return_inverse=True)
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), whole.dictionary.take(pa.array(used)))


def is_used(column: pa.ChunkedArray) -> bool:
    """Whether a record may have a resource; False is certain."""
    return any(bool(pc.any(pc.not_equal(chunk.dictionary, NO_RESOURCE)).as_py()) for chunk in column.chunks)


def unfolded_bytes(column: pa.ChunkedArray) -> int:
    """What the texts take where each record has its own, as in answers and whatever the database reads, bytes."""
    return sum(int(_lengths(chunk.dictionary)[chunk.indices.to_numpy()].sum()) for chunk in column.chunks)


def _lengths(texts: pa.StringArray) -> npt.NDArray[np.int64]:
    lengths: npt.NDArray[np.int64] = pc.binary_length(texts).to_numpy(zero_copy_only=False).astype(np.int64)
    return lengths


def _distinct(resources: pa.MapArray, offsets: npt.NDArray[np.int32]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """A number for each map, the same for those that are alike on the wire, and which map is the first of each number."""
    first, end = int(offsets[0]), int(offsets[-1])
    keys, values = resources.keys[first:end], resources.items[first:end]
    # With their lengths, so that texts of different entries cannot be the same.
    sizes = (pc.binary_length(part).cast(pa.string()) for part in (keys, values))
    entries = pc.binary_join_element_wise(*sizes, pc.binary_join_element_wise(keys, values, ""), ",")
    lists = pa.ListArray.from_arrays(pa.array(offsets - first, pa.int32()), entries)
    encoded = pc.binary_join(lists, "").dictionary_encode().indices.to_numpy()
    _, firsts, codes = np.unique(encoded, return_index=True, return_inverse=True)
    return codes, firsts
