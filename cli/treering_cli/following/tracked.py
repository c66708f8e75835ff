"""The records of one content, each with the place where it begins, and from where on to read again."""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from treering_cli.following.content import Content
from treering_cli.following.mark import MARK_BYTES, Window
from treering_cli.following.positions import Position
from treering_cli.line_buffer import LineBuffer
from treering_cli.text_streams import QUIET_S
from treering_formats.reader import MAX_LINE_BYTES, QUIET, Stream

if TYPE_CHECKING:
    from treering.v1.log_pb2 import LogRecord
    from treering_formats.records import RecordReader

_PIECE_BYTES = 256 * 1024
_PRIMING_BYTES = 64 * 1024
"""So much of a file's beginning, and of what is before the position, is read again before reading goes on in its middle: headers say what
its lines are, and a secret over several lines must be known as one."""

_Numbered = tuple[int, "LogRecord"]

MakeReader = Callable[[Stream, str], "RecordReader"]
"""Makes the reader of a stream of lines, for a path."""

Clock = Callable[[], float]

Taken = tuple[int, "LogRecord", int]
"""The number of a record's first line in the content, the record, and its size in bytes."""


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
        self._given: Counter[int] = Counter()
        self._skipped = Counter(dict(position.beyond))
        self._between = 0
        self._moved = False
        self._gone = False
        self._checked = (-1, -1)
        self._window = Window(content, position.offset)
        # As it was when it was opened: many parts that nobody has seen are told apart by this before any is read.
        self._head = content.read(0, MARK_BYTES)
        # The file may have been truncated since its content was known again.
        self._is_another = position.offset > 0 and self._window.mark(position.offset) != position.mark
        self._is_cut = self._is_another
        self.reader: RecordReader
        self._records: Iterator[_Numbered] | None = None
        self._flushed: deque[_Numbered] = deque()

    def take(self, most: int, most_bytes: int) -> list[Taken]:
        """The next records, at most `most`, and no more once they have `most_bytes`; fewer when nothing more is there at present."""
        taken: list[Taken] = []
        size = 0
        self._between = 0
        for number, record in self._coming():
            if number == QUIET:
                return taken
            size += self._give(number, record, taken)
            if len(taken) >= most or size >= most_bytes:
                # The line may hold more records, which the reader has and nobody else: from it on the file is read again.
                self._between = number
                return taken
        self._moved = self._moved or not self.ended
        self.ended = True
        return taken

    def release_held(self, now: float) -> bool:
        """Lets `take` give what waits for lines that might join it, if none has come for long enough; False when there is nothing."""
        if self._records is None or not self.reader.held_from or now - self.grown_at < QUIET_S:
            return False
        self._flushed.extend(self.reader.flush())
        return bool(self._flushed)

    def _coming(self) -> Iterator[_Numbered]:
        while self._flushed:
            yield self._flushed.popleft()
        # Not `yield from`: the end of this generator would be the end of the reader's.
        for each in self._records or self._begin():  # noqa: UP028
            yield each

    def finish(self) -> None:
        """No more comes: what is there is given to the end, a line without an end as well."""
        self.closing = True

    def abandon(self) -> None:
        """What was read and not given is given as it is; the file has nothing more of this content."""
        self._gone = self.closing = True

    def is_intact(self) -> bool:
        """Whether the file still has the content that was read: not after it was truncated, however long it is again.

        Abandoned content needs no file.
        """
        status = self.content.status()
        state = (status.st_size, status.st_mtime_ns)
        if self._gone or self._is_cut or state == self._checked:
            return self._gone or not self._is_cut
        self._checked = state
        self._is_cut = not self._has_what_was_read()
        return not self._is_cut

    @property
    def was_known(self) -> bool:
        """Whether the file had the content of the position when reading began."""
        return not self._is_another

    def may_begin_with(self, head: bytes) -> bool:
        """Whether other content with this beginning may be this one, by what this one began with when it was opened."""
        common = min(len(head), len(self._head))
        return head[:common] == self._head[:common]

    def is_in(self, content: Content) -> bool:
        """Whether another file holds what was read of this one; false while that is nothing."""
        return self.read_to > 0 and not self._is_another and self._window.is_of(content)

    def rest(self) -> None:
        """Gives the reader up, which knows what time it was made at; the next line makes another. Only where nothing waits in it."""
        if self._records is not None and not self._held_from() and not self._moved:
            self._records = None
            self._starts.clear()
            self._first = 1

    @property
    def has_moved(self) -> bool:
        """Whether `position` is another one than at its last call."""
        return self._moved

    def position(self) -> Position:
        """From where on to read again, once everything that was given is stored."""
        held = self._held_from()
        offset = self._starts[held - self._first] if held else self.read_to
        # Looked up before the starts are forgotten: `lines` is counted from the first of them.
        lines = self.start.lines + (held - self._first if held else len(self._starts))
        self._given = _from(offset, self._given)
        self._skipped = _from(offset, self._skipped)
        mark = self._window.mark(offset)
        beyond = tuple(sorted((self._given + self._skipped).items()))
        path, device, inode = self.path, self.content.device, self.content.inode
        self.start = Position(
            self.start.key, path, device, inode, offset, mark.head, mark.tail, lines, beyond, self.start.since, self.ended and self.closing
        )
        self._forget_before(held or self._first + len(self._starts))
        self._moved = False
        return self.start

    def _held_from(self) -> int:
        """The first line that is read and of which not every record is given for certain; 0 when there is none."""
        if self._records is None:
            return 0
        waiting = self._flushed[0][0] if self._flushed else 0
        return min((number for number in (self.reader.held_from, self._between, waiting) if number), default=0)

    def close(self) -> None:
        """Closes the file."""
        self.content.close()

    def _begin(self) -> Iterator[_Numbered]:
        """Makes the reader, and lets it see the beginning of the file, and what is before the position, without giving records again."""
        self.reader = self._make_reader(self, self.path)
        self._records = iter(self.reader)
        if not self.start.offset:
            return self._records
        head = self.content.read(0, min(_PRIMING_BYTES, self.start.offset))
        self._priming.extend(line + b"\n" for line in head.split(b"\n")[:-1])
        if self.start.offset > _PRIMING_BYTES:
            before = self.content.read(
                max(_PRIMING_BYTES, self.start.offset - _PRIMING_BYTES), min(_PRIMING_BYTES, self.start.offset - _PRIMING_BYTES)
            )
            # The first of these is a part of a line.
            self._priming.extend(line + b"\n" for line in before.split(b"\n")[1:-1])
        # The end of the beginning: the lines that follow in the file are not those that follow here.
        self._priming.append(None)
        for number, _ in self._records:
            if number == QUIET:
                break
        self.reader.flush()
        self._first = self.reader.lines + 1
        return self._records

    def _give(self, number: int, record: "LogRecord", taken: list[Taken]) -> int:
        """Takes a record, if it was not stored before; returns its size."""
        place = self._starts[number - self._first]
        self._moved = True
        self._given[place] += 1
        if self._skipped[place]:
            self._skipped[place] -= 1
            return 0
        size = record.ByteSize()
        taken.append((self.start.lines + number - self._first + 1, record, size))
        return size

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
            if piece := self._piece():
                self.grown_at = self._clock()
                self._buffer.add(piece)
            elif self.closing and (self._gone or not self._is_cut):
                return self._noted(self._buffer.rest(min(size, MAX_LINE_BYTES)))
            else:
                return None
        return self._noted(line)

    def _piece(self) -> bytes:
        """What is behind that which was read; nothing where that is no longer in the file."""
        if self._gone or self._is_cut:
            return b""
        piece = self.content.read(self.read_to + len(self._buffer), _PIECE_BYTES)
        # Behind the reading: a file that was truncated never has its old content again, so what it has now it had while this was read.
        # Before it, a truncated file that has grown again would be read on in the middle of its new content.
        if piece and not self._has_what_was_read():
            self._is_cut = True
            return b""
        return piece

    def _has_what_was_read(self) -> bool:
        """Whether the file still has what was read of it, the part of a line that waits for its end as well."""
        if self.content.is_packed:
            return True
        waiting = self._buffer.tail(MARK_BYTES)
        begin = self.read_to + len(self._buffer) - len(waiting)
        # Before a line is read, its beginning is what was seen of it.
        is_begun = self.read_to > 0 or self.content.read(0, len(self._head)) == self._head
        return is_begun and self._window.is_of(self.content) and self.content.read(begin, len(waiting)) == waiting

    def _noted(self, line: bytes) -> bytes:
        if line and self._line_begins:
            self._starts.append(self.read_to)
        if line:
            self._line_begins = line.endswith(b"\n")
        self.read_to += len(line)
        self._window.add(line)
        self._moved = self._moved or bool(line)
        return line


def _from(offset: int, counts: Counter[int]) -> Counter[int]:
    """The counts of places from an offset on."""
    return Counter({place: count for place, count in counts.items() if place >= offset and count})
