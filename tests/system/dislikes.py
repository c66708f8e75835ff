"""A service that cannot read frames with a certain word, for tests: `python dislikes.py MODULE WORD kill|refuse`."""

import os
import runpy
import signal
import sys
from typing import Any

from treering_runtime.columns import FrameDecoder

MODULE, WORD, MANNER = sys.argv[1:4]
DECODE = FrameDecoder.decode


def decode(self: Any, log_id: int, frames: Any, skip_below: int = 0) -> Any:
    """As the real one, but for the word."""
    if any(WORD.encode() in frame.payload for frame in frames):
        if MANNER == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise ValueError(f"it holds {WORD}")
    return DECODE(self, log_id, frames, skip_below)


FrameDecoder.decode = decode
sys.argv[1:] = []
runpy.run_module(MODULE, run_name="__main__")
