"""Which content belongs to which position, over renaming, truncation, copies and packing."""

import contextlib
import math
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from treering_cli.file_names import family, is_older, is_part
from treering_cli.following.content import Content
from treering_cli.following.copies import begin_alike, begun_as, is_copy
from treering_cli.following.mark import MARK_BYTES, Window
from treering_cli.following.parts import Family, Parts
from treering_cli.following.passed import Passed, identity_of
from treering_cli.following.positions import Position, Positions
from treering_cli.following.tracked import Clock, MakeReader, Tracked
from treering_cli.packed import MAGIC_BYTES, may_become_packed
from treering_cli.text_streams import NotTextError

_CLOCK_S = 0.05
"""How far the times of files may be behind the clock, seconds: they are those of the kernel's last tick."""

_COPY_S = 2.0
"""How long a copy of truncated content is looked for before what was read of it is given as it is, seconds."""

Say = Callable[[str], None]


class Files:
    """Opens files and finds what is known of them.

    Content is *known* when it has a position, *open* while it is read, and *suspended* when its file was truncated and its copy was not
    found yet. What is beside a log, changed after the log was first followed, and is none of these, came and was rotated away unseen.

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
        self._suspended: dict[int, tuple[Tracked, float]] = {}
        self._passed = Passed(clock, self._is_read)
        self._too_old = Passed(clock, self._is_read)
        self._parts = Parts()
        self._since: dict[Family, float] = {}
        self._noted_at = _now()

    @classmethod
    def to_ask(cls, positions: Positions) -> "Files":
        """For questions about content alone."""
        files = cls(positions, _no_reader, lambda _: None, by_content=True)
        files.load()
        return files

    def position_of(self, path: str) -> Position | None:
        """Where a file with this content was read to."""
        with contextlib.closing(Content(path)) as content:
            known = self._known_by_content(content, path)
            return known if known is not None and known.mark.fits(content) else None

    def read_to(self, path: str, offset: int, lines: int) -> Position | None:
        """The position of a file that was read to an offset; None if it has become shorter."""
        with contextlib.closing(Content(path)) as content:
            if not offset or content.status().st_size < offset:
                return None
            former = self._known_by_content(content, path) or self._new(path, content)
            mark = Window(content, offset).mark(offset)
            return Position(
                former.key, path, content.device, content.inode, offset, mark.head, mark.tail, lines, (), former.since, finished=True
            )

    def load(self) -> None:
        """Takes over the positions that are in force."""
        self._known = {each.key: each for each in self._positions.files()}
        for each in self._known.values():
            # What `send` has noted is finished: it does not say from when on the log is followed.
            if not each.finished:
                self._since[family(each.path)] = min(each.since, self._since.get(family(each.path), math.inf))

    def note(self, paths: Iterable[str]) -> None:
        """Keeps from when on logs are followed, also such as have no file yet: what changes later beside them is a part of them."""
        before, self._noted_at = self._noted_at, _now()
        new = {family(path): path for path in paths if family(path) not in self._since}
        if not new:
            return
        self._since |= dict.fromkeys(new, before)
        # On disk before anything is read: a kill before the first batch must not make it begin later.
        notes = [Position(self._positions.new_key(), path, 0, 0, 0, b"", b"", 0, (), before, finished=False) for path in new.values()]
        self._positions.move(notes)

    def open(self, path: str) -> Tracked | None:
        """What is to be read at a path; None when it cannot be read, or holds only what was read elsewhere."""
        content = self._content(path)
        if content is None:
            return None
        if self._by_content:
            return self._track(path, content, self._start_by_content(path, content))
        return self._track(path, content, self._start(path, content, is_older(path), -math.inf, ()))

    def parts(self, wanted: Collection[str]) -> list[Tracked]:
        """Parts of logs at wanted paths that are to be read, oldest first: the rest of what is known, and all of what nobody has seen."""
        logs: dict[Family, list[str]] = {}
        for path in wanted:
            logs.setdefault(family(path), []).append(path)
        found = []
        for path in self._in_order(path for path in self._parts.of(logs) if path not in wanted):
            content = self._content(path)
            if content is not None:
                of = logs[family(path)]
                since = self._since.get(family(path), math.inf) if any(is_part(path, log) for log in of) else math.inf
                found.append(self._track(path, content, self._start(path, content, True, since, of)))
        return [each for each in found if each is not None]

    def lost(self, wanted: Iterable[str]) -> list[Position]:
        """Positions in the logs at wanted paths whose content is not open and was not read to its end."""
        families = {family(path) for path in wanted}
        return [
            each
            for key, each in self._known.items()
            if each.offset and not each.finished and key not in self._open and key not in self._suspended and family(each.path) in families
        ]

    def finish(self, position: Position) -> None:
        """Nothing is left of this content, or it is nowhere: it is waited for no more."""
        if position.finished:
            return
        finished = replace(position, finished=True)
        self._known[position.key] = finished
        self._positions.move([finished])

    def moved(self, positions: Iterable[Position]) -> None:
        """Takes note of positions that are in force."""
        self._known.update({each.key: each for each in positions})

    def suspend(self, tracked: Tracked) -> None:
        """The file has something else in it now: `parts` looks for a copy of what it had."""
        self._open.pop(tracked.start.key, None)
        if tracked.was_known:
            self._suspended[tracked.start.key] = (tracked, self._clock())
        else:
            tracked.close()

    def without_copy(self) -> list[Tracked]:
        """Suspended content of which no copy was found in time: what was read of it is all there is."""
        late = [tracked for tracked, since in self._suspended.values() if self._clock() - since >= _COPY_S]
        for tracked in late:
            del self._suspended[tracked.start.key]
            self._open[tracked.start.key] = tracked
            tracked.abandon()
        return late

    def closed(self, tracked: Tracked) -> None:
        """A file is read no more."""
        if self._is_read(tracked):
            del self._open[tracked.start.key]
        tracked.close()

    def close(self) -> None:
        """Closes what is suspended."""
        for tracked, _ in self._suspended.values():
            tracked.close()
        self._suspended.clear()

    def _is_read(self, tracked: Tracked) -> bool:
        return self._open.get(tracked.start.key) is tracked

    # Where to begin

    def _start(self, path: str, content: Content, is_part: bool, since: float, logs: Iterable[str]) -> Position | None:
        """From where on content is to be read; None when it has nothing new, or when that cannot be said yet.

        Args:
            path: Where it is.
            content: The content.
            is_part: It may be what was elsewhere before.
            since: Content that changed before, seconds since 1970, is read only if it is known.
            logs: Whose part it is.
        """
        status = content.status()
        known = self._known_as(content, is_part)
        if known is not None and is_part and not content.read(known.offset, 1):
            self._passed.add(status)
            self.finish(known)
            return None
        if content.problem():
            # It is being packed; or it is damaged, and there is no other with what is not read yet.
            if known is None:
                self._passed.add(status)
            return known if self._passed.is_settled(status) else None
        if known is None and is_part:
            known = next((each.start for each, _ in self._suspended.values() if each.is_in(content)), None)
        return known or self._start_of_unknown(path, content, is_part, since, logs)

    def _start_of_unknown(self, path: str, content: Content, is_part: bool, since: float, logs: Iterable[str]) -> Position | None:
        """See `_start`."""
        status = content.status()
        if status.st_mtime <= since:
            self._too_old.add(status)
            return None
        if is_part and (self._may_be_a_copy(content, status) or self._may_be_at(logs, content)):
            return None
        return self._new(path, content)

    def _may_be_a_copy(self, content: Content, status: os.stat_result) -> bool:
        """Whether content is a copy of what is being read, or may turn out to be one."""
        head = content.read(0, MARK_BYTES)
        for each in self._open.values():
            if not each.may_begin_with(head):
                continue
            verdict = is_copy(content, each, lambda: self._passed.is_settled(status))
            if verdict and each.read_to >= MARK_BYTES:
                self._passed.add(status, each)
            if verdict is not False:
                return True
        return False

    def _may_be_at(self, logs: Iterable[str], content: Content) -> bool:
        """Whether a log has content that begins alike and is not open yet: one of the two would be taken for another."""
        for path in logs:
            log = self._content(path)
            if log is not None:
                with contextlib.closing(log):
                    if begin_alike(content, log):
                        return True
        return False

    def _start_by_content(self, path: str, content: Content) -> Position | None:
        known = self._known_by_content(content, path)
        if known is None:
            return self._new(path, content)
        if known.key in self._open:
            return None
        if known.mark.fits(content):
            return known
        # Shorter, it is a part of what was read. Otherwise it only begins as that does.
        return self._new(path, content) if content.read(known.offset - 1, 1) else None

    def _track(self, path: str, content: Content, start: Position | None) -> Tracked | None:
        if start is None:
            content.close()
            return None
        if suspended := self._suspended.pop(start.key, None):
            suspended[0].close()
        tracked = Tracked(path, content, start, self._make_reader, self._clock)
        self._open[start.key] = tracked
        return tracked

    def _new(self, path: str, content: Content) -> Position:
        return Position(self._positions.new_key(), path, content.device, content.inode, 0, b"", b"", 0, (), _now(), finished=False)

    # What is there

    def _content(self, path: str) -> Content | None:
        """The file, if it is to be looked at: it is not open, has text, and was not passed over as it is now."""
        status = None
        try:
            status = Path(path).stat()
            if self._passed.is_refused(path, status) or self._needs_no_look(status):
                return None
            content = Content(path)
        except FileNotFoundError:
            return None
        except NotTextError as error:
            self._refuse(path, status, str(error))
            return None
        except OSError as error:
            self._refuse(path, status, f"{path}: {error.strerror}")
            return None
        # Once more: another file may have come to this path since.
        if self._needs_no_look(content.status()) or (not self._by_content and _may_become_packed(content)):
            content.close()
            return None
        return content

    def _needs_no_look(self, status: os.stat_result) -> bool:
        # An empty file may become a copy, or a packed one: what it is can be told when it has something in it.
        return self._is_open(status) or (not self._by_content and not status.st_size) or self._passed.has(status)

    def _is_open(self, status: os.stat_result) -> bool:
        """Whether a file is one that is read already, by whatever name."""
        return any((each.content.device, each.content.inode) == identity_of(status) for each in self._open.values())

    def _refuse(self, path: str, status: os.stat_result | None, why: str) -> None:
        if self._passed.refuse(path, status):
            self._say(f"{why}; it is left out")

    def _in_order(self, paths: Iterable[str]) -> Iterator[str]:
        """The file that was read itself before copies of it, as others may begin with the same few lines; then as they were written."""
        lost = {(each.device, each.inode) for key, each in self._known.items() if not each.finished and key not in self._open}
        found = []
        for path in paths:
            with contextlib.suppress(OSError):
                status = Path(path).stat()
                if not self._needs_no_look(status) and not self._too_old.has(status):
                    found.append((identity_of(status) not in lost, status.st_mtime, path))
        return (path for _, _, path in sorted(found))

    # What is known

    def _known_as(self, content: Content, is_part: bool) -> Position | None:
        """The position of this content, if it is not being read. The same file is preferred to a copy of it."""
        fitting = [each for each in begun_as(content, self._known.values()) if each.key not in self._open and each.mark.fits(content)]
        if not is_part:
            # What was suspended is no longer in its file, even if that has the same first lines again.
            fitting = [each for each in fitting if each.key not in self._suspended]
        same = [each for each in fitting if (each.device, each.inode) == (content.device, content.inode)]
        # A new file under the log's own name may begin with the few lines that a program writes at each of its starts.
        others = [each for each in fitting if is_part or each.offset >= MARK_BYTES]
        return max(same or others, key=lambda each: each.offset, default=None)

    def _known_by_content(self, content: Content, path: str) -> Position | None:
        """The position of content that is, or begins as, what was read; a few lines are enough only if all that was read is there."""
        begun = begun_as(content, self._known.values())
        fitting = [each for each in begun if each.mark.fits(content)]
        same = [each for each in fitting if (each.device, each.inode) == (content.device, content.inode)]
        free = [each for each in fitting if each.key not in self._open]
        if same or free:
            return max(same or free, key=lambda each: each.offset)
        return next((each for each in begun if is_older(path) or each.offset >= MARK_BYTES), None)


def _may_become_packed(content: Content) -> bool:
    """Whether a file is too short yet to say that it is packed."""
    start = content.read(0, MAGIC_BYTES)
    return not content.is_packed and len(start) < MAGIC_BYTES and may_become_packed(start)


def _now() -> float:
    return time.time() - _CLOCK_S


def _no_reader(*_: object) -> NoReturn:
    raise AssertionError("only questions are asked")
