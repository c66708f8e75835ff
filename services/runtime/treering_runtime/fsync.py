"""Syncs that return when the bytes are on the medium, on each system. Whatever promises durability calls these, not `os`."""

import errno
import fcntl
import os
import sys

if sys.platform == "darwin":
    # A network share fails here with one of these. They mean "not supported", not "not written".
    _UNSUPPORTED = {errno.ENOTSUP, errno.EINVAL, errno.ENOTTY}

    def fsync(descriptor: int) -> None:
        """Makes content and metadata durable.

        `fsync` of macOS only hands the bytes to the drive, which may keep them in a volatile cache (fsync(2) there). F_FULLFSYNC
        empties that cache too. File systems without it, such as network shares, get what they have: their `fsync`.

        Raises:
            OSError: The bytes may not be on the medium.
        """
        try:
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        except OSError as error:
            # Any other error is one of the drive: an fsync that succeeds after it would hide lost bytes.
            if error.errno not in _UNSUPPORTED:
                raise
            os.fsync(descriptor)

    fdatasync = fsync
else:
    # On Linux both flush the drive's cache. `fdatasync` leaves out times, but never a size that reading needs.
    fsync = os.fsync
    fdatasync = os.fdatasync
