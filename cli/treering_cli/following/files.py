"""Which content belongs to which position, over renaming, truncation, copies and packing."""

import contextlib
import os
import time
from collections.abc import Callable, Container, Iterable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from treering_cli.file_names import family, log_name
from treering_cli.following.content import Content
from treering_cli.following.mark import MARK_BYTES, Window, digest
from treering_cli.following.positions import Position, Positions
from treering_cli.following.tracked import Clock, MakeReader, Tracked
from treering_cli.text_streams import NotTextError

_MOST_SIBLINGS = 10_000
_CLOCK_S = 0.05
"""How far the times of files may be behind the clock, seconds: they are those of the kernel's last tick."""

Say = Callable[[str], None]


def signature_of(status: os.stat_result) -> tuple[int, ...]:
    """What changes when a file does."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class Files:
    """Opens files and finds what is known of them.

    Args:
        positions: What was read before.
        make_reader: See `Tracked`.
        say: Is told what a person wants to know.
        clock: See `Tracked`.
        by_content: Take a short file for one that was read before if it begins with all that was read of that.
    """

    def __init__(
        self, positions: Positions, make_reader: MakeReader, say: Say, *, clock: Clock = time.monotonic, by_content: bool = False
    ) -> None:
        self._clock = clock
        self._positions = positions
        self._make_reader = make_reader
        self._say = say
        self._by_content = by_content
        self._known: dict[int, Position] = {}
        self._open: dict[int, Tracked] = {}
        self._passed: dict[str, tuple[int, ...]] = {}

    @classmethod
    def to_ask(cls, positions: Positions) -> "Files":
        """For questions about content alone."""
        files = cls(positions, _no_reader, lambda _: None, by_content=True)
        files.load()
        return files

    def position_of(self, path: str) -> Position | None:
        """Where a file with this content was read to."""
        with contextlib.closing(Content(path)) as content:
            known = self._known_as(content, path)
            return known if known is not None and known.mark.fits(content) else None

    def read_to(self, path: str, offset: int, lines: int) -> Position | None:
        """The position of a file that was read to an offset; None if it has become shorter."""
        with contextlib.closing(Content(path)) as content:
            if not offset or content.status().st_size < offset:
                return None
            former = self._known_as(content, path) or self._new(path, content)
            mark = Window(content, offset).mark(offset)
            return Position(
                former.key, path, content.device, content.inode, offset, mark.head, mark.tail, lines, (), former.since, finished=True
            )

    def load(self) -> None:
        """Takes over the positions that are in force."""
        self._known = {each.key: each for each in self._positions.files()}

    def open(self, path: str) -> Tracked | None:
        """What is to be read at a path; None when it cannot be read, or holds only what was read elsewhere."""
        content = None if self._is_open(path) else self._content(path)
        if content is None:
            return None
        known = self._known_as(content, path)
        if known is not None and (known.key in self._open or self._is_read(known, content, path)):
            self._pass_over(path, content)
            return None
        if known is None and not self._by_content and self._may_be_known(path, content):
            self._pass_over(path, content)
            return None
        return self._track(path, content, known or self._new(path, content))

    def rest_of(self, lost: Position) -> Tracked | None:
        """Content that is no longer where it was: its file under another name, or a copy of it, packed or not."""
        same = (lost.device, lost.inode)
        # The file itself first: another one may begin with the same few lines.
        for _, path in sorted((_identity(path) != same, path) for path in self._siblings(lost.path)):
            content = self._content(path)
            if content is not None and lost.mark.fits(content):
                return self._track(path, content, lost)
            if content is not None:
                content.close()
        return None

    def came_after(self, former: Position, wanted: Container[str]) -> list[Tracked]:
        """Files of the same log that came and went after this content, oldest first, and that nobody has read; none at a wanted path."""
        found: list[tuple[float, str]] = []
        for path in self._siblings(former.path):
            with contextlib.suppress(OSError):
                modified = Path(path).stat().st_mtime
                # Older ones were there before this log was followed: nobody asked for them.
                if modified > former.since and path not in wanted:
                    found.append((modified, path))
        opened = [self.open(path) for _, path in sorted(found)]
        return [each for each in opened if each is not None]

    def lost(self, wanted: Iterable[str]) -> list[Position]:
        """Positions in the logs at wanted paths whose content is not open and was not read to its end."""
        families = {family(path) for path in wanted}
        return [each for key, each in self._known.items() if not each.finished and key not in self._open and family(each.path) in families]

    def forget(self, position: Position) -> None:
        """What is left of this content is nowhere: it is looked for no more."""
        finished = replace(position, finished=True)
        self._known[position.key] = finished
        self._positions.move([finished])

    def moved(self, positions: Iterable[Position]) -> None:
        """Takes note of positions that are in force."""
        self._known.update({each.key: each for each in positions})

    def closed(self, tracked: Tracked) -> None:
        """A file is read no more."""
        # Its rest may be open under the same key.
        if self._open.get(tracked.start.key) is tracked:
            del self._open[tracked.start.key]
        tracked.close()

    def _may_be_known(self, path: str, content: Content) -> bool:
        """Whether unknown content may be what was read: a copy of what has no position yet, or a packed file that is being written."""
        is_older_part = log_name(path) != Path(path).name
        return (is_older_part and any(each.is_in(content) for each in self._open.values())) or bool(content.problem())

    def _pass_over(self, path: str, content: Content) -> None:
        """Leaves a file alone until it changes."""
        self._passed[path] = signature_of(content.status())
        content.close()

    def _is_read(self, known: Position, content: Content, path: str) -> bool:
        """Whether a file that was rotated away holds nothing new: it needs not to stay open."""
        return log_name(path) != Path(path).name and not self._by_content and not content.read(known.offset, 1)

    def _track(self, path: str, content: Content, position: Position) -> Tracked:
        tracked = Tracked(path, content, position, self._make_reader, self._clock)
        self._open[position.key] = tracked
        return tracked

    def _new(self, path: str, content: Content) -> Position:
        return Position(
            self._positions.new_key(), path, content.device, content.inode, 0, b"", b"", 0, (), time.time() - _CLOCK_S, finished=False
        )

    def _content(self, path: str) -> Content | None:
        """The file, if it can be read and was not found to hold nothing new as it is now."""
        signature: tuple[int, ...] = ()
        try:
            signature = signature_of(Path(path).stat())
            if self._passed.get(path) == signature:
                return None
            return Content(path)
        except FileNotFoundError:
            return None
        except NotTextError as error:
            self._pass(path, signature, str(error))
        except OSError as error:
            self._pass(path, signature, f"{path}: {error.strerror}")
        return None

    def _pass(self, path: str, signature: tuple[int, ...], why: str) -> None:
        if path not in self._passed:
            self._say(f"{why}; it is left out")
        self._passed[path] = signature

    def _known_as(self, content: Content, path: str) -> Position | None:
        """The position of this content. The same file is preferred to a copy of it."""
        begun = self._begun_as(content)
        fitting = [each for each in begun if each.mark.fits(content)]
        same = [each for each in fitting if (each.device, each.inode) == (content.device, content.inode)]
        is_older_part = log_name(path) != Path(path).name
        free = [each for each in fitting if each.key not in self._open and (is_older_part or self._is_told_by(each))]
        if same or free:
            return max(same or free, key=lambda each: each.offset)
        # A copy of what is being read, or a part of one that is being written. A new file under the log's own name is none, even if it
        # begins with the same few lines.
        copies = [each for each in begun if is_older_part or (self._by_content and each.offset >= MARK_BYTES)]
        return copies[0] if copies else None

    def _is_told_by(self, known: Position) -> bool:
        """Whether content is enough to take another file for this one: not the few lines that a program writes at each of its starts."""
        return self._by_content or known.offset >= MARK_BYTES

    def _begun_as(self, content: Content) -> list[Position]:
        """What is known that begins as this content does."""
        heads: dict[int, bytes] = {}
        begun = []
        for each in self._known.values():
            size = each.mark.head_bytes
            # Read once for each size: nearly all have the same.
            if size not in heads:
                heads[size] = digest(content.read(0, size))
            if size and heads[size] == each.head:
                begun.append(each)
        return begun

    def _siblings(self, path: str) -> list[str]:
        """The files of the same log, by their names; those that are open are left out."""
        directory = Path(path).parent
        try:
            paths = [str(each) for each in sorted(directory.iterdir())[:_MOST_SIBLINGS]]
        except OSError:
            return []
        return [each for each in paths if family(each) == family(path) and not self._is_open(each)]

    def _is_open(self, path: str) -> bool:
        """Whether the file at a path is one that is read already, by whatever name."""
        identity = _identity(path)
        return any((each.content.device, each.content.inode) == identity for each in self._open.values())


def _no_reader(*_: object) -> NoReturn:
    raise AssertionError("only questions are asked")


def _identity(path: str) -> tuple[int, int]:
    """Device and inode of the file at a path; of none, zeros."""
    try:
        status = Path(path).stat()
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino
