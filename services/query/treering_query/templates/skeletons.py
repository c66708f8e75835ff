"""Texts that agree in all positions but one, found for hundreds of thousands of texts at once.

Each (text, position) is one 64-bit key: the sum of the hashes of the other (position, token) pairs, and of the length. Equal keys are
found by one sort. Keys only nominate: whoever joins compares the texts.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from treering_query.values.pattern_ids import among

_Keys = npt.NDArray[np.uint64]
_Numbers = npt.NDArray[np.int64]

_AT_ONCE = 16_384
"""Texts, or keys, that one step works on: what it needs beside the keys stays at a few MiB."""


def shared_skeletons(texts: list[str], least: int, chosen: npt.NDArray[np.bool_]) -> Iterator[tuple[int, list[int]]]:
    """Yields (position, rows of `texts`) for each position in which at least `least` distinct texts may differ from each other only.

    Only where one of these is chosen (a flag for each text). Takes about 35 bytes of memory for each token of all texts.
    """
    if len(texts) < least:
        return
    keys, starts = _keys(texts)
    # Most keys are unique. Only the repeated ones are sorted with their places.
    places = _repeated(keys, least)
    if not len(places):
        return
    # Stable: rows of one key stay in the order of the table, so the result is the same in each run.
    places = places[np.argsort(keys[places], kind="stable")]
    found = keys[places]
    rows = np.searchsorted(starts, places, "right") - 1
    firsts = np.flatnonzero(np.concatenate(([True], found[1:] != found[:-1])))
    ends = np.append(firsts[1:], len(found))
    # Groups that a former pass has compared in full are left out.
    wanted = np.logical_or.reduceat(chosen[rows], firsts)
    for first, end in zip(firsts[wanted], ends[wanted], strict=True):
        yield int(places[first] - starts[rows[first]]), rows[first:end].tolist()


def _keys(texts: list[str]) -> tuple[_Keys, _Numbers]:
    """The key of each token of all texts, one text after the other, and where each text starts."""
    parts = [_keys_of(texts[start : start + _AT_ONCE]) for start in range(0, len(texts), _AT_ONCE)]
    lengths = np.concatenate([lengths for _, lengths in parts])
    return np.concatenate([keys for keys, _ in parts]), np.cumsum(lengths) - lengths


def _keys_of(texts: list[str]) -> tuple[_Keys, _Numbers]:
    tokens = pc.split_pattern(pa.array(texts, pa.string()), " ")
    lengths = pc.list_value_length(tokens).to_numpy().astype(np.int64)
    starts = np.cumsum(lengths) - lengths
    rows = np.repeat(np.arange(len(texts)), lengths)
    positions = (np.arange(len(rows)) - starts[rows]).astype(np.uint64)
    # Each distinct word is hashed once.
    words = tokens.flatten().dictionary_encode()
    distinct = words.dictionary.cast(pa.binary()).to_pylist()
    vocabulary = np.fromiter(map(xxhash.xxh3_64_intdigest, distinct), np.uint64, len(distinct))
    # Of word and position together: the same word elsewhere is another hash.
    hashes = _mix(vocabulary[words.indices.to_numpy()] + _mix(positions))
    # A sum, so that leaving one token out is a subtraction. It wraps at 64 bits, which loses nothing.
    whole = np.add.reduceat(hashes, starts) + _mix(lengths.astype(np.uint64) ^ np.uint64(0x5BD1E9955BD1E995))
    # The position that is left out goes in: two texts that differ in different places must not share a key.
    return whole[rows] - hashes + _mix(~positions), lengths


def _repeated(keys: _Keys, least: int) -> _Numbers:
    """The places of the keys that occur at least `least` times."""
    ordered = np.sort(keys)
    # Sorted: a key that occurs `least` times equals the one so many places before it.
    later = ordered[least - 1 :]
    often = np.unique(later[later == ordered[: len(later)]])
    if not len(often):
        return np.empty(0, np.int64)
    # In pieces: the flags of all keys at once would be as large as the keys.
    parts = [start + np.flatnonzero(among(keys[start : start + _AT_ONCE], often)) for start in range(0, len(keys), _AT_ONCE)]
    return np.concatenate(parts)


def _mix(values: _Keys) -> _Keys:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014)."""
    values = (values + np.uint64(0x9E3779B97F4A7C15)).astype(np.uint64)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
