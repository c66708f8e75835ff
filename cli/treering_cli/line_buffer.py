"""Pieces of bytes as lines."""


class LineBuffer:
    """Takes pieces as they come and gives whole lines."""

    def __init__(self) -> None:
        self._data = b""
        self._at = 0
        self._searched = 0

    def __len__(self) -> int:
        return len(self._data) - self._at

    def tail(self, size: int) -> bytes:
        """The last bytes of what is there, at most `size`."""
        return self._data[max(self._at, len(self._data) - size) :]

    def add(self, piece: bytes) -> None:
        """Puts a piece behind what is there."""
        self._data = self._data[self._at :] + piece if self else piece
        self._searched -= self._at
        self._at = 0

    def line(self, size: int) -> bytes | None:
        """The next line with its end, or `size` bytes of a longer one; None when its end is not there yet."""
        end = self._data.find(b"\n", max(self._searched, self._at)) + 1
        if not end:
            # Not searched again when the next piece comes: a long line would cost the square of its length.
            self._searched = len(self._data)
            return self.rest(size) if len(self) >= size else None
        return self._take(min(end, self._at + size))

    def rest(self, size: int) -> bytes:
        """What is there, at most `size` bytes, line or not."""
        return self._take(min(len(self._data), self._at + size))

    def _take(self, end: int) -> bytes:
        taken = self._data[self._at : end]
        self._at = end
        return taken
