"""Standard input, output and error of a process that was started without them."""

import os
import sys


def open_standard_streams() -> None:
    """Opens those that are closed on the null device.

    Otherwise the next files take their descriptors: what a library writes to standard error would go into a socket, or into a file of ours.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free descriptor: this one
    # Python found them closed at its start, and writes to these two
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - a descriptor, for as long as the process
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
