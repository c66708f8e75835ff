"""Marks of tests that need more than most machines give a test, and what says that they must run all the same."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

EVERYTHING = bool(os.environ.get("TREERING_TEST_EVERYTHING"))
"""Nothing may be skipped: what a machine lacks is a failure. CI sets it."""

CAN_MOUNT = sys.platform == "linux" and bool(int(re.search(r"CapEff:\s+(\w+)", Path("/proc/self/status").read_text())[1], 16) >> 21 & 1)
needs_root = [
    pytest.mark.root,
    pytest.mark.skipif(not (CAN_MOUNT or EVERYTHING), reason="needs root: it mounts a small file system or changes owners"),
]
needs_strace = [
    pytest.mark.strace,
    pytest.mark.skipif(not (shutil.which("strace") or EVERYTHING), reason="needs strace, which injects the error: apt-get install strace"),
]
