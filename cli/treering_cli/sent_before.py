"""What `treering send` remembers of the files that it sent, so that the next one can say so and `--once` can go on behind them."""

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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

_ID_CHARACTERS = 25
"""Of the user's id in one that is made of it: 128 bytes hold it in any script."""

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


@dataclass(frozen=True)
class Again:
    """What is to be sent under a producer id once more."""

    producer_id: str
    inputs: list[Input]
    known: dict[str, int]
    """Records of each file that are stored for certain and are not sent."""


def again(directory: Path, producer_id: str, inputs: list[Input]) -> Again:
    """Files that have grown since they were sent under a producer id are sent from there on.

    The batches of what is new would not be those that ingest knows under this id, as a batch goes on over the end of the last upload. So
    they get an id of their own, which is made of this one and of where they begin: repeated, it is the same.
    """
    with _known(directory, inputs) as found:
        if found is None:
            return Again(producer_id, inputs, {})
        positions, files = found
        sent = positions.sent_under(producer_id)
        known = {
            each.name: (position.key, *sent[position.key])
            for each in _files(inputs)
            if (position := files.position_of(each.name)) and position.key in sent
        }
        if not any(each.name in known and each.size > known[each.name][1] for each in inputs):
            return Again(producer_id, inputs, {})
        begin = hashlib.blake2b(repr(sorted(known.values())).encode(), digest_size=8).hexdigest()
        rest = [replace(each, start=known[each.name][1]) if each.name in known else each for each in inputs]
        return Again(f"{producer_id[:_ID_CHARACTERS]}+{begin}", rest, {name: records for name, (_, _, records) in known.items()})


def remember(directory: Path, inputs: Sequence[Input], reports: Sequence[FileReport], producer_id: str, known: Mapping[str, int]) -> None:
    """Keeps that files were sent to their ends, and under which id of the user's."""
    with _known(directory, inputs) as found:
        if found is None:
            return
        positions, files = found
        reported = {report.name: report for report in reports}
        read = [(each, reported[each.name]) for each in _files(inputs) if each.name in reported]
        sent = [
            (position, report)
            for each, report in read
            if (position := files.read_to(each.name, each.start + report.bytes_read, report.lines))
        ]
        positions.move(position for position, _ in sent)
        if producer_id:
            positions.note_sent(
                producer_id, [(position.key, position.offset, report.records + known.get(report.name, 0)) for position, report in sent]
            )


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
