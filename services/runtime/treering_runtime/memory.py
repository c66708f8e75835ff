"""Memory of the process, as the operating system sees it."""

import ctypes
import sys

import pyarrow as pa


def release_freed() -> None:
    """Gives memory that was freed back to the operating system; a few milliseconds, in which other threads go on.

    Arrow keeps a part of what it freed for itself, everywhere. Of everything else glibc keeps nearly all after a burst: pieces between
    others that live on; outside of Linux it is left alone.
    """
    pa.default_memory_pool().release_unused()
    # `malloc_trim` is glibc's; musl has no function of this name.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
