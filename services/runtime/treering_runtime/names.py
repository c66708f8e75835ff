"""Names of bounded length: services, environments, keys of attributes. A longer one is cut between two characters."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from treering_runtime.limits import MAX_NAME_BYTES


def too_long(names: pa.StringArray) -> npt.NDArray[np.bool_]:
    """Which of some names must be cut."""
    long: npt.NDArray[np.bool_] = pc.binary_length(names).to_numpy() > MAX_NAME_BYTES
    return long


def cut(names: pa.StringArray, long: npt.NDArray[np.bool_]) -> pa.StringArray:
    """The names, the long ones as many whole characters as fit into `MAX_NAME_BYTES`. Without a copy where none is long."""
    if not long.any():
        return names
    # Bytes first, slices after: Arrow's slices by character would count characters, and the limit is of bytes.
    raw = names.cast(pa.binary())
    lengths = np.where(long, _fitting_bytes(raw, long), 0)
    for length in np.unique(lengths[long]).tolist():  # at most four: a character has up to four bytes
        raw = pc.if_else(pa.array(lengths == length), pc.binary_slice(raw, 0, length), raw)
    return raw.cast(pa.string())


def _fitting_bytes(raw: pa.BinaryArray, long: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """How many bytes of each name hold whole characters; of names that are not long, anything."""
    _, offsets, data = raw.buffers()
    starts = np.frombuffer(offsets, np.int32)[raw.offset : raw.offset + len(raw)].astype(np.int64)
    octets = np.frombuffer(data, np.uint8)
    lengths = np.full(len(raw), MAX_NAME_BYTES, np.int64)
    for _ in range(3):  # a character goes on for up to three bytes
        at = np.where(long, starts + lengths, 0)
        lengths -= long & (octets[at] & 0xC0 == 0x80)
    return lengths
