"""Lines to events, lane by lane."""

from collections import deque
from collections.abc import Hashable

from treering_formats.joining.event import Event
from treering_formats.joining.heads import CRASH, HEAD, Learned
from treering_formats.joining.limits import (
    MAX_EVENT_CHARACTERS,
    MAX_EVENT_LINES,
    MAX_HELD_EVENTS,
    MAX_JSON_CHARACTERS,
    MAX_LANES,
    MAX_STRAY_LINES,
)
from treering_formats.joining.traces import continues, is_more_of, kind_of, opens_json
from treering_formats.wrappers.envelope import Envelope

_STRAYS_PER_HEAD = 3
_FORGET_AFTER = 4_096
_ROWS_BELOW = "#Fields:"
"""Below such a line each line is a row, whatever it begins with."""


class _Lane:
    """One sequence of lines: the event that is held, the pieces of a line that is not whole, and how the lane's records begin."""

    __slots__ = ("blanks", "has_rows", "heads", "held", "learned", "pieces", "slot", "strays")

    def __init__(self) -> None:
        self.held: Event | None = None
        self.slot: Event | None = None
        self.pieces: list[str] = []
        self.blanks = 0
        self.heads = 0
        self.strays = 0
        self.has_rows = False
        self.learned = Learned()

    @property
    def has_heads(self) -> bool:
        """Whether records of this lane begin with a head, so that lines without one continue them."""
        while self.heads + self.strays > _FORGET_AFTER:  # old lines count half, so that a stream may change
            self.heads //= 2
            self.strays //= 2
        return self.heads > 1 and self.strays <= _STRAYS_PER_HEAD * self.heads


class Joiner:
    """Takes lines and gives events, complete ones and in the order of their first lines.

    Attributes:
        joined: Lines that were joined to the one before, as continuations of an event.
        blank: Lines without anything in them that are in no event.
    """

    def __init__(self, *, json: bool) -> None:
        """Makes a joiner.

        Args:
            json: Whether a text that is open JSON goes on until its brackets are closed.
        """
        self._json = json
        self._lanes: dict[Hashable, _Lane] = {}
        self._order: deque[Event] = deque()
        self.joined = 0
        self.blank = 0

    @property
    def held_from(self) -> int:
        """The number of the first line that is in no event given so far; 0 when nothing is held."""
        return self._order[0].number if self._order else 0

    def add(self, number: int, line: str, envelope: Envelope | None = None) -> None:
        """Takes the next line of the stream; without an envelope, of its only lane."""
        lane = self._lanes.get(envelope.lane if envelope else None) or self._lane(envelope.lane if envelope else None)
        if envelope and (envelope.is_partial or lane.pieces):
            whole = self._piece(lane, number, line, envelope)
            if whole is None:
                return
            line, number = whole, lane.slot.number if lane.slot else number
        self._add_whole(lane, number, line, envelope)

    def end_lane(self, envelope: Envelope | None) -> None:
        """Ends the event of a lane: what comes next in it is a record by itself."""
        lane = self._lanes.get(envelope.lane if envelope else None)
        if lane:
            self._end(lane)

    def place(self, event: Event) -> None:
        """Puts an event that is complete by itself behind those before it."""
        event.is_closed = True
        self._order.append(event)

    def is_inside_json(self) -> bool:
        """Whether the lines of the only lane are inside a JSON text that goes on."""
        lane = self._lanes.get(None)
        return lane is not None and lane.held is not None and lane.held.kind == "json"

    def pop(self) -> Event | None:
        """The next event that is complete, as far as none before it is held; None when there is none."""
        order = self._order
        if len(order) > MAX_HELD_EVENTS:
            self._end_first()
        while order and order[0].is_closed:
            event = order.popleft()
            if event.lines:
                self.joined += len(event.lines) - 1
                return event
            if event.content is not None:
                return event
        return None

    def end(self) -> None:
        """Ends every event, also lines of which only pieces have come: `pop` gives them."""
        for lane in self._lanes.values():
            self._end(lane)

    def _lane(self, key: Hashable) -> _Lane:
        """A new lane."""
        if len(self._lanes) >= MAX_LANES:
            self.end()
            self._lanes.clear()
        lane = self._lanes[key] = _Lane()
        return lane

    def _piece(self, lane: _Lane, number: int, text: str, envelope: Envelope) -> str | None:
        """Takes a piece of a line; the whole line with its last piece, None before."""
        if not lane.slot:
            lane.slot = Event(number, envelope)
            self._order.append(lane.slot)  # its place among the events is that of its first piece
        lane.pieces.append(text)
        if envelope.is_partial and sum(map(len, lane.pieces)) < MAX_EVENT_CHARACTERS:
            return None
        return self._whole(lane)

    def _whole(self, lane: _Lane) -> str:
        text = "".join(lane.pieces)
        self.joined += len(lane.pieces) - 1
        lane.pieces = []
        return text

    def _add_whole(self, lane: _Lane, number: int, line: str, envelope: Envelope | None) -> None:
        if line and not line.isspace():
            self._add(lane, number, line, envelope)
        else:
            self._add_blank(lane)

    def _add_blank(self, lane: _Lane) -> None:
        if lane.slot:
            lane.slot.is_closed = True
            lane.slot = None
        lane.blanks += 1
        if not lane.held:
            self._drop_blanks(lane)

    def _drop_blanks(self, lane: _Lane) -> None:
        self.blank += lane.blanks
        lane.blanks = 0

    def _add(self, lane: _Lane, number: int, line: str, envelope: Envelope | None) -> None:
        held = lane.held
        learned = lane.learned.pattern
        head = line[0] not in " \t" and (lane.has_rows or (HEAD.match(line) or (learned and learned.match(line))) is not None)
        if held is None:
            self._begin(lane, number, line, envelope, head=head)
        elif is_more_of(line, held) if head else continues(line, held, after_blank=lane.blanks > 0):
            if not _has_room(held, line):
                self._begin(lane, number, line, envelope, head=head)
                return
            if held.kind == "json":
                held.add_stray(lane.blanks, number)
            self._continue(lane, line)
        elif head or not held.has_head or CRASH.match(line) or len(held.strays) >= MAX_STRAY_LINES or not _has_room(held, line):
            self._begin(lane, number, line, envelope, head=head)
        else:
            lane.strays += 1
            held.add_stray(lane.blanks, number)
            self._continue(lane, line)

    def _begin(self, lane: _Lane, number: int, line: str, envelope: Envelope | None, *, head: bool) -> None:
        if head:
            lane.heads += 1
        else:
            learned = lane.learned.see(line)
            lane.heads, lane.strays = lane.heads + learned, lane.strays + 1 - learned
        if lane.held is not None:
            self._end_held(lane)
        event = lane.slot
        if event is None:
            event = Event(number, envelope)
            self._order.append(event)
        lane.slot, lane.held = None, event
        event.lines.append(line)
        event.size = len(line)
        if head:
            event.has_head = True
            if line.startswith(_ROWS_BELOW):
                lane.has_rows = True
        else:
            event.kind = kind_of(line)
            if self._json and opens_json(line):
                event.kind = "json"
                self._track_json(lane, line)

    def _continue(self, lane: _Lane, line: str) -> None:
        event = lane.held
        if event is None:
            return
        if lane.slot:  # the line came in pieces and belongs to an earlier event: its place stays empty
            lane.slot.is_closed = True
            lane.slot = None
        event.lines.extend([""] * lane.blanks)
        lane.blanks = 0
        event.add(line)
        if event.kind == "json":
            self._track_json(lane, line)

    def _track_json(self, lane: _Lane, line: str) -> None:
        """A JSON text ends with its last bracket. Brackets inside its strings are counted, too: then the next line's front ends it."""
        event = lane.held
        if event is None:
            return
        event.depth += line.count("{") + line.count("[") - line.count("}") - line.count("]")
        if event.depth <= 0:
            self._end_held(lane)

    def _end_held(self, lane: _Lane) -> None:
        event, lane.held = lane.held, None
        self._drop_blanks(lane)
        if event is None:
            return
        event.is_closed = True
        if event.kind == "json":
            # as lines it can be stored: one record of all of it would be refused as too large
            if event.depth > 0 and event.size > MAX_EVENT_CHARACTERS:
                self._replace(event, event.split())
        elif event.strays and not lane.has_heads:
            self._replace(event, event.split())

    def _replace(self, event: Event, parts: list[Event]) -> None:
        """Puts the parts of an event where it stands, in the order of their numbers."""
        for part in parts:
            part.is_closed = True
        self.blank += len(event.lines) - sum(len(part.lines) for part in parts)
        event.lines = []
        merged = sorted([*self._order, *parts], key=lambda each: each.number)
        self._order.clear()
        self._order.extend(merged)

    def _end(self, lane: _Lane) -> None:
        if lane.pieces:
            number = lane.slot.number if lane.slot else 0
            envelope = lane.slot.envelope if lane.slot else None
            self._add_whole(lane, number, self._whole(lane), envelope)
        self._end_held(lane)

    def _end_first(self) -> None:
        """Ends the lane that all others wait for."""
        first = self._order[0]
        for lane in self._lanes.values():
            if first in (lane.held, lane.slot):
                self._end(lane)


def _has_room(held: Event, line: str) -> bool:
    """Whether an event is small enough for one line more."""
    if held.kind == "json":
        return held.size + len(line) < MAX_JSON_CHARACTERS
    return held.size + len(line) < MAX_EVENT_CHARACTERS and len(held.lines) < MAX_EVENT_LINES
