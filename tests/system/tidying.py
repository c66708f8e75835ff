"""A service that gives back what it has freed when it is sent SIGUSR1, and says what it holds: `python tidying.py MODULE`."""

import ctypes
import gc
import runpy
import signal
import sys
from types import FrameType

from treering_runtime.memory import release_freed

HELD = "bytes held: "


class Mallinfo(ctypes.Structure):
    """What `mallinfo2` of glibc returns; `uordblks` and `hblkhd` are in use."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    ]


def tidy(_signal: int, _frame: FrameType | None) -> None:
    """What is left then is what the service holds."""
    gc.collect()
    release_freed()
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = Mallinfo
    found = mallinfo()
    sys.stderr.write(f"{HELD}{found.uordblks + found.hblkhd}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, tidy)
    module = sys.argv.pop(1)
    runpy.run_module(module, run_name="__main__")
