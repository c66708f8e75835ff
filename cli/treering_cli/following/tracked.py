"""The records of one content, each with the place where it begins, and from where on to read again."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from treering_cli.following.content import Content
from treering_cli.following.mark import Window
from treering_cli.following.positions import Position
from treering_cli.line_buffer import LineBuffer
from treering_cli.text_streams import QUIET_S
from treering_formats.reader import MAX_LINE_BYTES, QUIET, Stream

if TYPE_CHECKING:
    from treering.v1.log_pb2 import LogRecord
    from treering_formats.records import RecordReader

_PIECE_BYTES = 256 * 1024
_PRIMING_BYTES = 64 * 1024
"""So much of a file's beginning is read again before reading goes on in its middle: headers say what its lines are."""

MakeReader = Callable[[Stream, str], "RecordReader"]
"""Makes the reader of a stream of lines, for a path."""

Clock = Callable[[], float]

Taken = tuple[int, "LogRecord"]
"""A record, and the number of its first line in the content."""


class Tracked:
    """One content that is read from a position on.

    States: *live* (more may come; a line without an end waits for it); *closing* (`finish` was called: the file was rotated away, and what
    is there now is all of it); *ended* (everything was given).

    Args:
        path: Where it is.
        content: The content; closed by `close`.
        position: Where reading begins.
        make_reader: Makes what makes records of its lines.
        clock: Tells how long nothing has come, seconds.
    """

    def __init__(self, path: str, content: Content, position: Position, make_reader: MakeReader, clock: Clock) -> None:
        self.path = path
        self.content = content
        self.start = position
        self.read_to = position.offset
        self.grown_at = clock()
        self.closing = self.ended = False
        self._make_reader = make_reader
        self._clock = clock
        self._buffer = LineBuffer()
        self._starts: deque[int] = deque()
        self._first = 1
        self._line_begins = True
        self._priming: deque[bytes | None] = deque()
        self._given: list[int] = []
        self._skipped = set(position.beyond)
        self._moved = False
        self._gone = False
        self._checked = (-1, -1)
        self._window = Window(content, position.offset)
        self.reader: RecordReader
        self._records: Iterator[Taken] | None = None

    def take(self, most: int) -> list[Taken]:
        """The next records, at most about `most`; fewer when nothing more is there at present."""
        taken: list[Taken] = []
        for number, record in self._records or self._begin():
            if number == QUIET:
                return taken
            self._give(number, record, taken)
            if len(taken) >= most:
                return taken
        self._moved = self._moved or not self.ended
        self.ended = True
        return taken

    def take_held(self, *, now: float) -> list[Taken]:
        """What waits for lines that might join it, if none has come for long enough."""
        if self._records is None or not self.reader.held_from or now - self.grown_at < QUIET_S:
            return []
        taken: list[Taken] = []
        for number, record in self.reader.flush():
            self._give(number, record, taken)
        return taken

    def finish(self) -> None:
        """No more comes: what is there is given to the end, a line without an end as well."""
        self.closing = True

    def abandon(self) -> None:
        """What was read and not given is given as it is; the file has nothing more of this content."""
        self._gone = self.closing = True

    def is_intact(self) -> bool:
        """Whether the file still has the content that was read: not after it was truncated, however long it is again."""
        status = self.content.status()
        state = (status.st_size, status.st_mtime_ns)
        if self.content.is_packed or state == self._checked:
            return True
        self._checked = state
        return status.st_size >= self.read_to and self._window.is_of(self.content)

    def rest(self) -> None:
        """Gives the reader up, which knows what time it was made at; the next line makes another. Only where nothing waits in it."""
        if self._records is not None and not self.reader.held_from and not self._moved:
            self._records = None
            self._starts.clear()
            self._first = 1

    @property
    def has_moved(self) -> bool:
        """Whether `position` is another one than at its last call."""
        return self._moved

    def position(self) -> Position:
        """From where on to read again, once everything that was given is stored."""
        held = self.reader.held_from if self._records is not None else 0
        offset = self._starts[held - self._first] if held else self.read_to
        # Looked up before the starts are forgotten: `lines` is counted from the first of them.
        lines = self.start.lines + (held - self._first if held else len(self._starts))
        self._given = [place for place in self._given if place >= offset]
        self._skipped = {place for place in self._skipped if place >= offset}
        mark = self._window.mark(offset)
        beyond = tuple(sorted({*self._given, *self._skipped}))
        path, device, inode = self.path, self.content.device, self.content.inode
        self.start = Position(
            self.start.key, path, device, inode, offset, mark.head, mark.tail, lines, beyond, self.start.since, self.ended and self.closing
        )
        self._forget_before(held or self._first + len(self._starts))
        self._moved = False
        return self.start

    def close(self) -> None:
        """Closes the file."""
        self.content.close()

    def _begin(self) -> Iterator[Taken]:
        """Makes the reader, and lets it see the beginning of the file without giving the records of it again."""
        self.reader = self._make_reader(self, self.path)
        self._records = iter(self.reader)
        if not self.start.offset:
            return self._records
        head = self.content.read(0, min(_PRIMING_BYTES, self.start.offset))
        self._priming.extend(line + b"\n" for line in head.split(b"\n")[:-1])
        # The end of the beginning: the lines that follow in the file are not those that follow here.
        self._priming.append(None)
        for number, _ in self._records:
            if number == QUIET:
                break
        self.reader.flush()
        self._first = self.reader.lines + 1
        return self._records

    def _give(self, number: int, record: "LogRecord", taken: list[Taken]) -> None:
        place = self._starts[number - self._first]
        self._moved = True
        if place in self._skipped:  # it was stored before the last stop, out of the order of the file
            return
        self._given.append(place)
        taken.append((self.start.lines + number - self._first + 1, record))

    def _forget_before(self, number: int) -> None:
        while self._first < number:
            self._starts.popleft()
            self._first += 1

    # The stream that the reader reads

    def readline(self, size: int, /) -> bytes | None:
        """See `treering_formats.reader.Stream`."""
        if self._priming:
            return self._priming.popleft()
        while (line := self._buffer.line(size)) is None:
            piece = b"" if self._gone else self.content.read(self.read_to + len(self._buffer), _PIECE_BYTES)
            if piece:
                self.grown_at = self._clock()
                self._buffer.add(piece)
            elif self.closing:
                return self._noted(self._buffer.rest(min(size, MAX_LINE_BYTES)))
            else:
                return None
        return self._noted(line)

    def _noted(self, line: bytes) -> bytes:
        if line and self._line_begins:
            self._starts.append(self.read_to)
        if line:
            self._line_begins = line.endswith(b"\n")
        self.read_to += len(line)
        self._window.add(line)
        self._moved = self._moved or bool(line)
        return line
