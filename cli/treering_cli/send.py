"""`treering send`: log files and pipes into ingest."""

import datetime as dt
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from treering_cli.connection import Connection
from treering_cli.inputs import STDIN, Input, NotTextError, UntilInterrupted, check_inputs, check_text, probe
from treering_cli.output import answer, note
from treering_cli.problems import INTERRUPTED, REFUSED, Refusal
from treering_cli.send_progress import SendProgress
from treering_formats.reader import Format

if TYPE_CHECKING:
    from treering.client import Client
    from treering.patience import OnOutage
    from treering.upload_state import UploaderOptions, UploadResult
    from treering.uploader import Uploader

_UPDATE_EVERY = 1_000
_PIPE_LINGER_S = 1.0
_REASONS = {"MESSAGE_EMPTY": "the message is empty; give every record a text", "RECORD_TOO_LARGE": "the record is over 1 MiB; split it"}
_LISTED = 20


def send(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Log files; - is standard input.")],
    *,
    connection: Connection,
    service: Annotated[str | None, typer.Option(help="Service of records that name none. Default: the file's stem.")] = None,
    environment: Annotated[str, typer.Option(help="Environment of records that name none.")] = "",
    format: Annotated[Format, typer.Option(help="What a line is; auto looks at the first one.")] = "auto",  # noqa: A002
    time_zone: Annotated[
        str, typer.Option(metavar="ZONE", help="Zone of times that name none, for example Europe/Warsaw or +02:00. Default: UTC.")
    ] = "",
    producer_id: Annotated[str | None, typer.Option(help="Send the same files again under this id, and nothing is stored twice.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Return when the records can be searched and counted.")] = False,
    wait_timeout: Annotated[
        float, typer.Option(min=0, help="How long --wait waits once everything is stored, seconds; the exit code is 1 then.")
    ] = 300.0,
    retry_for: Annotated[
        float, typer.Option(min=0, help="How long to try when ingest does not answer, at the beginning or later, seconds.")
    ] = 60.0,
    json: Annotated[bool, typer.Option("--json", help="The answer is JSON anyway.")] = False,
) -> None:
    """Send log files: JSON lines or plain text, a record a line.

    The answer is one line of JSON, however it ends. accepted, duplicate (stored before, under the same producer id) and rejected count
    records; stored is accepted and duplicate together; pending counts records that were read and may or may not be stored. visible says
    whether both search and SQL know them: true or false after --wait, null when nobody waited.

    Exit codes: 0 when everything is stored, and visible if --wait was given; 1 when records were rejected or could not be stored, or
    --wait-timeout passed (stored and visible tell which); 2 for wrong use; 130 after Ctrl-C.
    """
    del json
    inputs = check_inputs(files)
    zone = _zone(time_zone)
    if producer_id is not None and not 1 <= len(producer_id.encode()) <= 128:
        raise typer.BadParameter("--producer-id has 1 to 128 bytes; a UUID is a good choice")
    with connection.client() as client:
        sending = _Sending(inputs, service, environment, format, zone)
        sending.run(client, producer_id or "", retry_for)
        if wait and not sending.problem:
            sending.wait(client, wait_timeout)
    _report(sending)
    sending.finish()


@dataclass
class _Sending:
    """A send on its way, and how it ended."""

    inputs: list[Input]
    service: str | None
    environment: str
    format: Format
    zone: dt.tzinfo = dt.UTC
    records: int = 0
    unparsed: int = 0
    replaced: int = 0
    empty: list[str] = field(default_factory=list)
    uploader: "Uploader" = field(init=False)
    result: "UploadResult" = field(init=False)
    visible: bool | None = None
    problem: Exception | None = None

    @property
    def is_pipe(self) -> bool:
        """Whether something is read that cannot be read again."""
        return any(each.name == STDIN for each in self.inputs)

    @property
    def stored(self) -> int:
        """Records that are durable."""
        return self.result.accepted + self.result.duplicate

    def run(self, client: "Client", producer_id: str, retry_for_s: float) -> None:
        """Sends every input; an error that ends it early is kept as `problem`."""
        with SendProgress(0 if self.is_pipe else sum(each.size for each in self.inputs)) as progress:
            self.uploader = client.uploader(producer_id, **self._options(retry_for_s, progress, client.endpoints.ingest))
            try:
                with self.uploader:
                    self._send_all(progress)
            except NotTextError as error:
                self.problem = typer.BadParameter(str(error))
            except KeyboardInterrupt:
                self.problem = typer.Exit(INTERRUPTED)
            except Exception as error:  # noqa: BLE001 - what became of the records is said first; `finish` raises it
                self.problem = error
            self.result = self.uploader.result()

    def _options(self, retry_for_s: float, progress: SendProgress, address: str) -> "UploaderOptions":
        """A pipe's lines are there only once, so they go soon, and an end by force waits for them.

        Files are cut into the same batches each time they are sent, so that a repeat is recognised.
        """
        on_outage = self._outage(progress, address)
        if self.is_pipe:
            return {"retry_for_s": retry_for_s, "on_outage": on_outage, "linger_s": _PIPE_LINGER_S}
        return {"retry_for_s": retry_for_s, "on_outage": on_outage, "linger_s": math.inf, "drain_for_s": 0.0}

    def _outage(self, progress: SendProgress, address: str) -> "OnOutage":
        """Says that ingest is away. A host that never had a name is not restarted there, so that ends the upload."""
        from treering.errors import NameResolutionError, TreeringError, UnavailableError  # noqa: PLC0415 - start-up

        def say(error: TreeringError, left_s: float) -> None:
            answered = bool(self.uploader.result().positions)
            if isinstance(error, NameResolutionError) and not answered:
                raise error
            silent = isinstance(error, UnavailableError) and not error.reason
            state = "does not answer" if silent else "takes nothing"
            why = "" if silent else f" ({error.message})"
            progress.say(f"treering: ingest at {address} {state} {'any more' if answered else 'yet'}{why}; trying for {left_s:.0f} s")

        return say

    def _send_all(self, progress: SendProgress) -> None:
        done_bytes = 0
        for source in self.inputs:
            done_bytes = self._send(source, progress, done_bytes)

    def _send(self, source: Input, progress: SendProgress, done_bytes: int) -> int:
        """Sends one input; returns how many bytes of all inputs are done."""
        from treering_formats.records import RecordReader  # noqa: PLC0415 - start-up

        with source.open() as stream:
            check_text(source.name, probe(stream))
            now = dt.datetime.now(dt.UTC)
            service = self.service or source.service
            lines = UntilInterrupted(stream) if source.name == STDIN else stream
            reader = RecordReader(lines, service=service, environment=self.environment, fmt=self.format, now=now, zone=self.zone)
            before = self.records
            for number, record in reader:
                self.uploader.send(record, (source.name, number))
                self.records += 1
                if not self.records % _UPDATE_EVERY:
                    progress.update(done_bytes + reader.bytes_read, self.records)
            if isinstance(lines, UntilInterrupted) and lines.was_interrupted:
                raise KeyboardInterrupt
        self.unparsed += reader.unparsed
        self.replaced += reader.replaced
        if self.records == before:
            self.empty.append(source.name)
        return done_bytes + reader.bytes_read

    def wait(self, client: "Client", timeout_s: float) -> None:
        """Waits until both sinks have everything; what they lack is kept as `problem`."""
        from treering_cli.visibility import wait_visible  # noqa: PLC0415 - start-up

        self.visible = False
        try:
            behind = wait_visible(client, self.result.positions, timeout_s)
        except KeyboardInterrupt:
            self.problem = typer.Exit(INTERRUPTED)
            return
        self.visible = not behind
        if behind:
            self.problem = Refusal(f"not visible after {timeout_s:g} s: {behind}; nothing needs to be sent again; see `treering status`")

    def finish(self) -> None:
        """Ends the command with the exit code that fits."""
        if self.problem:
            raise self.problem
        if self.result.rejected:
            raise typer.Exit(REFUSED)


def _zone(name: str) -> dt.tzinfo:
    """The zone that a person names.

    Raises:
        typer.BadParameter: This machine knows none of that name.
    """
    from treering_formats.zones import offset_of, zone_named  # noqa: PLC0415 - start-up

    if not name or name.upper() == "UTC":
        return dt.UTC
    offset = offset_of(name) if name[0] in "+-" else None
    zone = zone_named(name) if offset is None else dt.timezone(dt.timedelta(seconds=offset))
    if zone is None:
        raise typer.BadParameter(f"--time-zone: no such zone {name!r} on this machine; give one such as Europe/Warsaw, or +02:00")
    return zone


def _report(sending: _Sending) -> None:
    from treering_cli.escaping import to_json  # noqa: PLC0415 - start-up

    result = sending.result
    counts = {
        "accepted": result.accepted,
        "duplicate": result.duplicate,
        "rejected": result.rejected,
        "end_offset": result.end_offset,
        "stored": sending.stored,
        "pending": result.pending,
        "visible": sending.visible,
    }
    answer(to_json(counts))
    for name in sending.empty:
        note(f"treering: {name}: empty, there is no record in it")
    if sending.unparsed:
        note(f"treering: lines that are no JSON object and were kept as plain messages: {sending.unparsed:,}")
    if sending.replaced:
        note(f"treering: lines that are not valid UTF-8, their wrong bytes replaced by U+FFFD: {sending.replaced:,}")
    if result.uncertain:
        note(f"treering: ingest had forgotten this producer; {result.uncertain:,} records may be stored twice")
    for rejection in result.rejections[:_LISTED]:
        name, line = rejection.ref if isinstance(rejection.ref, tuple) else ("?", 0)
        note(f"treering: {name}:{line}: rejected: {_REASONS.get(rejection.reason, rejection.reason)}")
    if result.rejected > _LISTED:
        note(f"treering: {result.rejected:,} records were rejected in all")
    if sending.problem:
        note(f"treering: {_how_far(sending)}")


def _how_far(sending: _Sending) -> str:
    """What is stored, of a send that did not end as it should."""
    words = f"{sending.stored:,} of {sending.records:,} records read are stored for certain"
    if sending.visible is not None:
        return f"everything is stored, {sending.stored:,} records"
    if sending.is_pipe:
        return words
    return f"{words}; send the same files again with --producer-id {sending.result.producer_id} and none is stored twice"
