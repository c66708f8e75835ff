"""Memory of the process, as the operating system sees it."""

import ctypes
import sys

import pyarrow as pa


def release_freed() -> None:
    """Gives memory that was freed back to the operating system; a few milliseconds, in which other threads go on.

    After a burst glibc keeps nearly all of what it freed: pieces between others that live on. Elsewhere there is nothing to do. Arrow has
    memory of its own, of which it keeps a part.
    """
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
