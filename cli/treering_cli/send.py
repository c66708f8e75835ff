"""`treering send`: log files and pipes into ingest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from treering_cli.choosing import Choice, Choosing
from treering_cli.connection import Connection
from treering_cli.follow import StateDir, once_stored, state_dir_of
from treering_cli.inputs import FoundInputs, Input, find_inputs
from treering_cli.output import answer, note
from treering_cli.problems import REFUSED
from treering_cli.reading import ReaderFactory, ReadingOptions
from treering_cli.send_report import files_json, tell
from treering_cli.sending import Sending
from treering_cli.sent_before import Again, again, remember, say_what_was_sent
from treering_cli.text_streams import check_encoding

_REASONS = {"MESSAGE_EMPTY": "the message is empty; give every record a text", "RECORD_TOO_LARGE": "the record is over 1 MiB; split it"}
_LISTED = 20


def _encoding(value: str) -> str:
    try:
        if value:
            check_encoding(value)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return value


def _producer_id(value: str | None) -> str | None:
    if value is not None and not 1 <= len(value.encode()) <= 128:
        raise typer.BadParameter("has 1 to 128 bytes; a UUID is a good choice")
    return value


def send(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Log files, packed ones too, directories, pipes; - is standard input.")
    ],
    *,
    connection: Connection,
    reading: ReadingOptions,
    choosing: Choosing,
    encoding: Annotated[str, typer.Option(callback=_encoding, help="Of texts that are neither UTF-8 nor UTF-16 with its mark.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show how the first records are read, and send nothing.")] = False,
    once: Annotated[
        bool, typer.Option("--once", help="Send only what is new since these contents were read last, by whatever name.")
    ] = False,
    state_dir: StateDir = None,
    resource: Annotated[
        list[str] | None,
        typer.Option("--resource", metavar="KEY=VALUE", help="An attribute that holds for all records, stored once; may be repeated."),
    ] = None,
    producer_id: Annotated[
        str | None, typer.Option(callback=_producer_id, help="Send the same files again under this id, and nothing is stored twice.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Return when the records can be searched and counted.")] = False,
    wait_timeout: Annotated[
        float, typer.Option(min=0, help="How long --wait waits once everything is stored, seconds; the exit code is 1 then.")
    ] = 300.0,
    retry_for: Annotated[
        float, typer.Option(min=0, help="How long to try when ingest does not answer, at the beginning or later, seconds.")
    ] = 60.0,
    json: Annotated[bool, typer.Option("--json", help="The answer is JSON anyway; of --dry-run, too.")] = False,
) -> None:
    """Send log files: JSON lines, plain text and whatever `treering formats` lists.

    Files packed with gzip, bzip2, xz or zstd are read as they are, directories with all text files below them, patterns in quotes. A pipe
    is read once, from its first byte, and shows its newest record within a second.

    The answer is one line of JSON, however it ends. accepted, duplicate (stored before, under the same producer id) and rejected count
    records; stored is accepted and duplicate together; pending counts records that were read and may or may not be stored. visible says
    whether both search and SQL know them: true or false after --wait, null when nobody waited. files says how each file was read.

    Exit codes: 0 when everything is stored, and visible if --wait was given; 1 when records were rejected or could not be stored, a file
    could not be read to its end, or --wait-timeout passed (stored and visible tell which); 2 for wrong use; 130 after Ctrl-C.
    """
    found = find_inputs(files, encoding)
    if dry_run:
        from treering_cli.dry_run import show  # noqa: PLC0415 - start-up

        show(found.inputs, ReaderFactory(reading), json=json)
        return
    _say_what_is_left_out(found)
    shared = _resource(resource or ())
    way = _Way(connection, ReaderFactory(reading), choosing.choice(), state_dir, retry_for, wait_timeout if wait else None)
    if once:
        _check_once(found, own_options=bool(producer_id or shared), encoding=encoding)
        way.send_new(found.inputs)
    else:
        way.send_all(found.inputs, producer_id or "", shared)
    if found.unreadable:
        raise typer.Exit(REFUSED)


@dataclass(frozen=True)
class _Way:
    """Where records go, how they are read, and how long is waited; `wait_s` is None where nobody waits until they are visible."""

    connection: Connection
    reading: ReaderFactory
    choice: Choice
    state_dir: Path | None
    retry_for_s: float
    wait_s: float | None

    def send_new(self, inputs: Sequence[Input]) -> None:
        """Sends what is behind the last line of each file that was stored."""
        with once_stored(self.connection, self.reading, self.choice, self.state_dir, retry_for_s=self.retry_for_s) as run:
            run.go(lambda: iter([each.name for each in inputs]), until_stopped=False)
            run.finish(wait_s=self.wait_s)

    def send_all(self, inputs: list[Input], producer_id: str, resource: Mapping[str, str]) -> None:
        """Sends whole files, or under a producer id what was not sent under it yet; an empty id stands for a new one."""
        directory = state_dir_of(self.state_dir, self.connection)
        todo = again(directory, producer_id, inputs) if producer_id else Again("", inputs, {})
        if not producer_id:
            say_what_was_sent(directory, inputs)
        sending = Sending(todo.inputs, self.reading, self.choice, resource=resource, known=sum(todo.known.values()))
        with self.connection.client() as client:
            sending.run(client, todo.producer_id, self.retry_for_s)
            if self.wait_s is not None and not sending.problem:
                sending.wait(client, self.wait_s)
        _report(sending)
        if not sending.problem:
            remember(directory, todo.inputs, sending.reports, producer_id, todo.known)
        sending.finish()


def _resource(pairs: Sequence[str]) -> dict[str, str]:
    parted = [pair.partition("=") for pair in pairs]
    for pair, (key, separator, _) in zip(pairs, parted, strict=True):
        if not key or not separator:
            raise typer.BadParameter(f"--resource {pair!r} is no KEY=VALUE; for example --resource host.name=db-1")
    resource = {key: value for key, _, value in parted}
    if len(resource) < len(parted):
        raise typer.BadParameter("--resource names a key twice; all records have one value of it")
    return resource


def _check_once(found: FoundInputs, *, own_options: bool, encoding: str) -> None:
    pipes = [each.name for each in found.inputs if each.is_pipe]
    if pipes:
        raise typer.BadParameter(f"{pipes[0]}: a pipe cannot be read again, so --once means nothing for it")
    if own_options or encoding:
        raise typer.BadParameter(
            "--once has its own producer id and reads UTF-8 and UTF-16; leave out --producer-id, --resource, --encoding"
        )


def _say_what_is_left_out(found: FoundInputs) -> None:
    for why in (*found.no_text[:_LISTED], *found.unreadable[:_LISTED]):
        note(f"treering: {why}; it is left out")
    more = len(found.no_text) + len(found.unreadable) - min(len(found.no_text), _LISTED) - min(len(found.unreadable), _LISTED)
    if more:
        note(f"treering: {more:,} more files are left out")


def _report(sending: Sending) -> None:
    from treering_cli.escaping import to_json  # noqa: PLC0415 - start-up

    result = sending.result
    counts = {
        "accepted": result.accepted,
        "duplicate": sending.duplicate,
        "rejected": result.rejected,
        "end_offset": result.end_offset,
        "stored": sending.stored,
        "pending": result.pending,
        "visible": sending.visible,
        "redacted": sending.reading.redacted(),
        "files": files_json(sending.reports),
    }
    answer(to_json(counts))
    tell(sending.reports)
    if redacted := sending.reading.redacted():
        note(f"treering: masked: {', '.join(f'{rule} {count:,}' for rule, count in redacted.items())}")
    if result.uncertain:
        note(f"treering: ingest had forgotten this producer; {result.uncertain:,} records may be stored twice")
    for rejection in result.rejections[:_LISTED]:
        name, line = rejection.ref if isinstance(rejection.ref, tuple) else ("?", 0)
        note(f"treering: {name}:{line}: rejected: {_REASONS.get(rejection.reason, rejection.reason)}")
    if result.rejected > _LISTED:
        note(f"treering: {result.rejected:,} records were rejected in all")
    if sending.problem:
        note(f"treering: {_how_far(sending)}")


def _how_far(sending: Sending) -> str:
    """What is stored, of a send that did not end as it should."""
    words = f"{sending.stored:,} of {sending.records:,} records read are stored for certain"
    if sending.visible is not None:
        return f"everything is stored, {sending.stored:,} records"
    if sending.is_pipe:
        return words
    if getattr(sending.problem, "reason", "") == "SEQUENCE_REUSED":
        return (
            f"{words}; under this producer id other files, or other parts of them, were sent: take another id, or --once, which needs none"
        )
    return f"{words}; send the same files again with --producer-id {sending.result.producer_id} and none is stored twice"
