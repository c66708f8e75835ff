"""The checksum of a segment's file: xxh3_64 of all its bytes, as 64 bits. Parquet itself would not notice a changed byte of its data."""

from pathlib import Path

import xxhash

# Large enough that a disk reads in sequence, small beside the memory of a query.
_PIECE_BYTES = 4 * 1024 * 1024


def checksum_of(path: Path) -> int:
    """Reads a file and returns its checksum.

    Raises:
        OSError: It cannot be read.
    """
    digest = xxhash.xxh3_64()
    # One buffer for the whole file, and no copy: `readinto` fills it, the digest reads it where it is.
    buffer = memoryview(bytearray(_PIECE_BYTES))
    # Unbuffered: a buffer of Python's would copy each piece once more.
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(buffer):
            digest.update(buffer[:size])
    return digest.intdigest()
