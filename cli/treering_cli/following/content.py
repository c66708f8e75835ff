"""The text of a file, by offset."""

import io
import os
import stat
from pathlib import Path

from treering_cli.packed import MAGIC_BYTES, kind_of
from treering_cli.text_streams import FileText, NotTextError, check_text, open_text

_SKIP_BYTES = 1024 * 1024
_PROBE_BYTES = 8192


class Content:
    """A file that was opened, whatever becomes of its name.

    The offsets are those of the text: of a packed file, of what is packed in it.

    Attributes:
        device, inode: The file's identity while it is there.

    Raises:
        NotTextError: It holds no text, or is no file.
        OSError: It cannot be opened.
    """

    def __init__(self, path: str) -> None:
        # Not to wait for the other end of a pipe: it is refused below.
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        self._path = path
        self._raw: io.BufferedReader | None = None
        self._text: FileText | None = None
        self._at = 0
        self._end: tuple[int, tuple[int, int]] | None = None
        self._measured: tuple[int, str, tuple[int, int]] | None = None
        try:
            status = os.fstat(self._descriptor)
            _check_file(path, status)
            self.device, self.inode = status.st_dev, status.st_ino
            start = os.pread(self._descriptor, _PROBE_BYTES, 0)
            # UTF-16 is read as a packed file is: its text is not what stands in it.
            _check_start(path, start)
            self.is_packed = bool(kind_of(start[:MAGIC_BYTES])) or start.startswith((b"\xff\xfe", b"\xfe\xff"))
            if self.is_packed:
                self._opened()
            else:
                check_text(path, start)
        except BaseException:
            self.close()
            raise

    def status(self) -> os.stat_result:
        """The file's state now."""
        return os.fstat(self._descriptor)

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes at an offset; fewer where there are no more, or where a packed file is damaged or still being written."""
        return self._unpacked(offset, size) if self.is_packed else os.pread(self._descriptor, size, offset)

    def close(self) -> None:
        """Closes the file."""
        self._rewind()
        os.close(self._descriptor)

    def problem(self) -> str:
        """Why a packed file cannot be read to its end: it is damaged, or still being written; empty otherwise. Reads all of it."""
        return self._measure()[1] if self.is_packed else ""

    def length(self) -> int:
        """How much text there is, bytes. Reads all of a packed file, once for each of its states."""
        return self._measure()[0] if self.is_packed else self.status().st_size

    def _measure(self) -> tuple[int, str]:
        state = self._state()
        if self._measured is None or self._measured[2] != state:
            text = self._opened()
            length = 0
            while piece := text.stream.read(_SKIP_BYTES):
                length += len(piece)
            self._measured = (length, text.problem, state)
            self._rewind()
        return self._measured[:2]

    def _state(self) -> tuple[int, int]:
        status = self.status()
        return status.st_size, status.st_mtime_ns

    def _unpacked(self, offset: int, size: int) -> bytes:
        """Text of a packed file. Where its end was met before, all of it is unpacked again only after the file has changed."""
        # Before it is read: what is written after this is found by the next call.
        state = self._state()
        if self._end is not None and self._end[1] == state and offset >= self._end[0]:
            return b""
        piece = self._next_unpacked(offset, size)
        if not piece and size:
            self._end = (offset, state)
        return piece

    def _next_unpacked(self, offset: int, size: int) -> bytes:
        # A stream runs forward only; what is packed may also have grown since its end was met.
        if self._text is None or offset < self._at:
            self._text = self._opened()
        while self._at < offset:
            skipped = self._text.stream.read(min(_SKIP_BYTES, offset - self._at))
            self._at += len(skipped)
            if not skipped:
                self._rewind()
                return b""
        piece = self._text.stream.read(size)
        self._at += len(piece)
        if len(piece) < size:
            self._rewind()
        return piece

    def _opened(self) -> FileText:
        self._rewind()
        # A descriptor of its own: the place in a file belongs to the open file, and would be shared by a duplicate.
        self._raw = Path(f"/proc/self/fd/{self._descriptor}").open("rb")  # noqa: SIM115 - closed by `_rewind`
        return open_text(self._path, self._raw, "")

    def _rewind(self) -> None:
        self._text, self._at = None, 0
        if self._raw is not None:
            self._raw.close()
        self._raw = None


def _check_file(path: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise NotTextError(f"{path}: this is no file and cannot be read twice; pipe it into `treering send -`")


def _check_start(path: str, start: bytes) -> None:
    if start.startswith(b"__CURSOR="):  # its entries are no lines, so that there is no place in it to go on from
        raise NotTextError(f"{path}: this is an export of the journal; give it to `treering send`, without --once")
