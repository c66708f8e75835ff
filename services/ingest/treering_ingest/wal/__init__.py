"""The write-ahead log: every acknowledged batch, on disk, in order.

A log is a directory of segments, named by their number and first offset, and a manifest that says which must be there. A segment is a
header, a snapshot of the producers at that point, frames, and a footer once it is complete. A frame is one batch: a header
with a checksum, then the bytes as they were received. Each frame's checksum covers that of the frame before it, across segments, so that
nothing can be changed, lost, doubled or swapped in the middle without being noticed. `docs/wal-format.md` describes every byte.

`log` writes, `opening` and `recovery` open, `reader` follows while it is written, `inspect` looks at a directory from outside.
The disk is behind `filesystem.FileSystem`.
"""

from treering_ingest.wal.active import Mark
from treering_ingest.wal.config import LogConfig
from treering_ingest.wal.errors import CorruptLogError
from treering_ingest.wal.filesystem import PosixFileSystem
from treering_ingest.wal.frame import Frame
from treering_ingest.wal.log import Log
from treering_ingest.wal.opening import open_log
from treering_ingest.wal.reader import LogCursor

__all__ = [
    "CorruptLogError",
    "Frame",
    "Log",
    "LogConfig",
    "LogCursor",
    "Mark",
    "PosixFileSystem",
    "open_log",
]
