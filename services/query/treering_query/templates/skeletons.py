"""Texts that agree in all positions but one, found for hundreds of thousands of texts at once.

Each (text, position) is one 64-bit key: the sum of the hashes of the other (position, token) pairs, and of the length. Equal keys are
found by one sort. Keys only nominate: whoever joins compares the texts.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_Hashes = npt.NDArray[np.uint64]


def shared_skeletons(texts: list[str], least: int, chosen: npt.NDArray[np.bool_]) -> Iterator[tuple[int, list[int]]]:
    """Yields (position, rows of `texts`) for each position in which at least `least` distinct texts may differ from each other only.

    Only where one of these is chosen (a flag for each text).
    """
    if len(texts) < least:
        return
    rows, positions, keys = _keys(texts)
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    ends = np.append(starts[1:], len(ordered))
    wanted = (ends - starts >= least) & np.logical_or.reduceat(chosen[rows[order]], starts)
    for start, end in zip(starts[wanted], ends[wanted], strict=True):
        members = order[start:end]
        yield int(positions[members[0]]), rows[members].tolist()


def _keys(texts: list[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], _Hashes]:
    tokens = pc.split_pattern(pa.array(texts, pa.string()), " ")
    lengths = pc.list_value_length(tokens).to_numpy().astype(np.int64)
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    rows = np.repeat(np.arange(len(texts)), lengths)
    positions = np.arange(len(rows)) - starts[rows]
    vocabulary = tokens.flatten().dictionary_encode().indices.to_numpy().astype(np.uint64)
    hashes = _mix(vocabulary << np.uint64(12) | positions.astype(np.uint64))
    whole = np.add.reduceat(hashes, starts) + _mix(lengths.astype(np.uint64) ^ np.uint64(0x5BD1E9955BD1E995))
    return rows, positions, whole[rows] - hashes + _mix(~positions.astype(np.uint64))


def _mix(values: _Hashes) -> _Hashes:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014)."""
    values = (values + np.uint64(0x9E3779B97F4A7C15)).astype(np.uint64)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
