"""Arrow tables in memory that other processes can map: a query's child process reads the same pages."""

import fcntl
import mmap
import os
import sys
import tempfile
from pathlib import Path

import pyarrow as pa


class SharedArrow:
    """An immutable Arrow table in a memfd (an unlinked temporary file outside of Linux).

    `descriptor` may be passed to other processes; it is closed, and the memory given back, with the last reference to this object.
    """

    def __init__(self, table: pa.Table) -> None:
        self.descriptor = _anonymous_file()
        # A duplicate, as the file object closes its own. `with` writes Arrow's footer before it is closed.
        with os.fdopen(os.dup(self.descriptor), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
        # After the last write and before the first map: F_SEAL_WRITE is refused while a writable mapping exists, and ours is read-only.
        _seal(self.descriptor)
        self.size_bytes = os.fstat(self.descriptor).st_size
        self.row_count = table.num_rows
        # Read back through the map: the pages exist once, for this process and for every child.
        self.table = map_arrow(self.descriptor)

    def __del__(self) -> None:
        # A child that was given it keeps the pages until it ends.
        os.close(self.descriptor)


def map_arrow(descriptor: int) -> pa.Table:
    """The table in a descriptor of `SharedArrow`, read-only and without a copy."""
    # The table refers to the map, so the pages live as long as any slice of it, also after the descriptor is closed.
    mapped = mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)
    return pa.ipc.open_file(pa.BufferReader(pa.py_buffer(mapped))).read_all()


if sys.platform == "linux":

    def _anonymous_file() -> int:
        # Close-on-exec: a child gets exactly the descriptors that it is given.
        return os.memfd_create("treering", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)

    def _seal(descriptor: int) -> None:
        """Nobody writes to it any more: a child process that is taken over could otherwise change what is hot."""
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
else:

    def _anonymous_file() -> int:
        descriptor, name = tempfile.mkstemp(prefix="treering-")
        # The name goes at once: a crash leaves no file behind.
        Path(name).unlink()
        return descriptor

    def _seal(descriptor: int) -> None:
        """Other systems have no seals."""
