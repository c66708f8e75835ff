"""What `treering send` remembers of the files that it sent, so that the next one can say so and `--once` can go on behind them."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from treering_cli.inputs import Input
from treering_cli.output import note
from treering_cli.problems import Refusal
from treering_cli.send_report import FileReport
from treering_cli.text_streams import NotTextError

if TYPE_CHECKING:
    from treering_cli.following.files import Files
    from treering_cli.following.positions import Positions

_MOST_FILES = 1_000
"""Of more files in one command nothing is remembered: that is no log that somebody sends again by mistake."""


def say_what_was_sent(directory: Path, inputs: Sequence[Input]) -> None:
    """Says which files hold what was sent before."""
    with _known(directory, inputs) as known:
        if known is None:
            return
        for each in _files(inputs):
            if (position := known[1].position_of(each.name)) is not None:
                note(
                    f"treering: {each.name}: the first {position.offset:,} bytes were sent before and are stored once more now; "
                    "`treering send --once` sends only what is new"
                )


def remember(directory: Path, inputs: Sequence[Input], reports: Sequence[FileReport]) -> None:
    """Keeps that files were sent to their ends."""
    with _known(directory, inputs) as known:
        if known is None:
            return
        positions, files = known
        ends = {report.name: report for report in reports}
        sent = [files.read_to(each.name, ends[each.name].bytes_read, ends[each.name].lines) for each in _files(inputs) if each.name in ends]
        positions.move(position for position in sent if position is not None)


def _files(inputs: Sequence[Input]) -> list[Input]:
    # What is packed would have to be unpacked once more for its mark.
    return [each for each in inputs if each.size and not each.encoding]


@contextlib.contextmanager
def _known(directory: Path, inputs: Sequence[Input]) -> "Iterator[tuple[Positions, Files] | None]":
    """The positions, and what they say of files; None where they are not to be had: nothing depends on them here."""
    if len(inputs) > _MOST_FILES or not directory.parent.is_dir():
        yield None
        return
    from treering_cli.following.files import Files  # noqa: PLC0415 - start-up
    from treering_cli.following.positions import Positions  # noqa: PLC0415

    try:
        positions = Positions(directory)
    except Refusal:  # a `treering follow` uses it
        yield None
        return
    with contextlib.closing(positions), contextlib.suppress(OSError, NotTextError):
        files = Files.to_ask(positions)
        yield positions, files
