"""One event: the lines that will be one record."""

from treering_formats.wrappers.envelope import Envelope
from treering_formats.wrappers.inner import Inner


class Event:
    """Lines that were written as one thing.

    Attributes:
        number: The number of its first line in the stream.
        lines: Its lines; empty while the pieces of its first line still come, or when these joined an earlier event.
        strays: Index and number of the lines that belong to it only because they have no head.
        size: Characters.
        has_head: Whether the first line begins as records do.
        kind: The kind of trace or text that it is, as far as its lines show it.
        depth: Brackets that are open, where it is a JSON text.
        is_closed: Whether nothing more can belong to it.
        envelope: What its wrapper said.
        content: What it is, where that is no text of lines.
    """

    # what most events leave as it is stands in the class: an event is made for nearly every line
    strays: list[tuple[int, int]] | tuple[()] = ()
    has_head = False
    kind = ""
    depth = 0
    is_closed = False

    def __init__(self, number: int, envelope: Envelope | None, content: Inner | None = None) -> None:
        self.number = number
        self.envelope = envelope
        self.content = content
        self.lines: list[str] = []
        self.size = 0

    @property
    def text(self) -> str:
        """The lines as one text."""
        return self.lines[0] if len(self.lines) == 1 else "\n".join(self.lines)

    def add(self, line: str) -> None:
        """Adds a line."""
        self.lines.append(line)
        self.size += len(line) + 1

    def add_stray(self, blanks: int, number: int) -> None:
        """Marks the line that is added next, behind so many blank ones."""
        self.strays = [*self.strays] if isinstance(self.strays, tuple) else self.strays
        self.strays.append((len(self.lines) + blanks, number))

    def split(self) -> list["Event"]:
        """The event without its strays, and each stray as an event of its own with the lines that follow it."""
        borders = [(0, self.number), *self.strays]
        parts = []
        for index, (start, number) in enumerate(borders):
            end = borders[index + 1][0] if index + 1 < len(borders) else len(self.lines)
            part = Event(number, self.envelope)
            part.kind = self.kind
            part.lines = self.lines[start:end]
            while part.lines and not part.lines[-1]:  # blank lines stood between two events after all
                part.lines.pop()
            parts.append(part)
        return parts
