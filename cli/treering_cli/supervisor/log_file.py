"""The log of a child process: a file of bounded size, and its last lines in memory."""

import contextlib
import os
import sys
from collections import deque
from pathlib import Path
from typing import BinaryIO

from treering_cli.private_files import make_private_directory, open_private

MAX_LOG_BYTES = 16 * 1024 * 1024
"""A log file is set aside as `.1` at this size, in bytes, so that two of them are the most."""

_LAST_LINES = 20
_MAX_LINE_BYTES = 8 * 1024


class LogFile:
    """Takes lines of a child's standard error.

    Args:
        path: The file, continued if it is there.
        verbose: Write to our own standard error instead.
    """

    def __init__(self, path: Path, *, verbose: bool) -> None:
        self.path = path
        self._last: deque[str] = deque(maxlen=_LAST_LINES)
        self._file = None if verbose else self._open()

    def write(self, line: bytes) -> None:
        """Takes one line, its end included."""
        self._last.append(line[:_MAX_LINE_BYTES].decode(errors="replace").rstrip())
        # a full disk, or a terminal that is closed, costs lines of the log and no service
        with contextlib.suppress(OSError):
            self._write(line)

    def _write(self, line: bytes) -> None:
        if self._file is None:
            sys.stderr.buffer.write(line)
            sys.stderr.buffer.flush()
            return
        if self._file.tell() + len(line) > MAX_LOG_BYTES:
            self.path.replace(self.path.with_suffix(".log.1"))
            following = self._open()  # first: without it the old one goes on
            self._file.close()
            self._file = following
        os.write(self._file.fileno(), line)  # past its buffer, which would keep what a full disk refused

    def _open(self) -> BinaryIO:
        make_private_directory(self.path.parent)
        return open(open_private(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab")  # noqa: PTH123 - a descriptor

    def forget(self) -> None:
        """Forgets the last lines: a new process begins."""
        self._last.clear()

    def reason(self) -> str:
        """Why the process ended, as far as it said so: what it wrote that is no JSON, else its last line."""
        spoken = [line for line in self._last if line and not line.startswith("{")]
        return "\n".join(spoken[-5:]) if spoken else (self._last[-1] if self._last else "it said nothing")

    def close(self) -> None:
        """Closes the file."""
        if self._file:
            self._file.close()
