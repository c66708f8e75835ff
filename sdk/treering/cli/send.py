"""`treering send`: log files and pipes into ingest."""

import datetime as dt
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from treering.cli.connection import Connection
from treering.cli.inputs import STDIN, Input, check_inputs
from treering.cli.output import answer, note
from treering.cli.parse.reader import Format, NotTextError, check_text, probe
from treering.cli.problems import REFUSED, Refusal, explain
from treering.cli.send_progress import SendProgress

if TYPE_CHECKING:
    from treering.client import Client
    from treering.upload_state import UploadResult
    from treering.uploader import Uploader

_UPDATE_EVERY = 1_000
_PIPE_LINGER_S = 1.0
_REASONS = {"MESSAGE_EMPTY": "the message is empty; give every record a text", "RECORD_TOO_LARGE": "the record is over 1 MiB; split it"}
_LISTED = 20

_RESTART_S = 20.0
"""How long `treering up` may take to start a service again, seconds: its longest pause and a start."""


def send(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Log files; - is standard input.")],
    *,
    connection: Connection,
    service: Annotated[str | None, typer.Option(help="Service of records that name none. Default: the file's stem.")] = None,
    environment: Annotated[str, typer.Option(help="Environment of records that name none.")] = "",
    format: Annotated[Format, typer.Option(help="What a line is; auto looks at the first one.")] = "auto",  # noqa: A002
    producer_id: Annotated[str | None, typer.Option(help="Send the same files again under this id, and nothing is stored twice.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Return when the records can be searched and counted.")] = False,
    wait_timeout: Annotated[float, typer.Option(min=0, help="How long --wait waits, seconds.")] = 300.0,
    retry_for: Annotated[float, typer.Option(min=0, help="How long to try again when ingest does not answer, seconds.")] = 60.0,
    json: Annotated[bool, typer.Option("--json", help="The answer is JSON anyway.")] = False,
) -> None:
    """Send log files: JSON lines or plain text, a record a line."""
    del json
    inputs = check_inputs(files)
    if producer_id is not None and not 1 <= len(producer_id.encode()) <= 128:
        raise typer.BadParameter("--producer-id has 1 to 128 bytes; a UUID is a good choice")
    with connection.client() as client:
        _until_answering(client, min(retry_for, _RESTART_S) if connection.supervised() else 0.0)
        linger_s = _PIPE_LINGER_S if any(each.name == STDIN for each in inputs) else math.inf
        uploader = client.uploader(producer_id or "", linger_s=linger_s, retry_for_s=retry_for)
        sending = _Sending(uploader, service, environment, format)
        result = _upload(sending, inputs)
        if wait:
            _wait(client, result, wait_timeout)
    _report(sending, result)
    if result.rejected:
        raise typer.Exit(REFUSED)


def _until_answering(client: "Client", patience_s: float) -> None:
    """One question before the files are read: where nobody listens, that is said at once; a service being restarted has some time."""
    from treering.errors import UnavailableError  # noqa: PLC0415 - start-up
    from treering.upload_state import Patience  # noqa: PLC0415

    patience = Patience(patience_s)
    while True:
        try:
            client.get_ingest_status(timeout=10)
        except UnavailableError as error:
            time.sleep(patience.delay(error, time.monotonic()))
        else:
            return


@dataclass
class _Sending:
    """A send on its way."""

    uploader: "Uploader"
    service: str | None
    environment: str
    format: Format
    records: int = 0
    unparsed: int = 0
    replaced: int = 0
    empty: list[str] = field(default_factory=list)

    def send(self, source: Input, progress: SendProgress, done_bytes: int) -> int:
        """Sends one input; returns how many bytes of all inputs are done."""
        from treering.cli.parse.records import RecordReader  # noqa: PLC0415 - start-up

        with source.open() as stream:
            check_text(source.name, probe(stream))
            now = dt.datetime.now(dt.UTC)
            service = self.service or source.service
            reader = RecordReader(stream, service=service, environment=self.environment, fmt=self.format, now=now)
            before = self.records
            for number, record in reader:
                self.uploader.send(record, (source.name, number))
                self.records += 1
                if not self.records % _UPDATE_EVERY:
                    progress.update(done_bytes + reader.bytes_read, self.records)
        self.unparsed += reader.unparsed
        self.replaced += reader.replaced
        if self.records == before:
            self.empty.append(source.name)
        return done_bytes + reader.bytes_read


def _upload(sending: _Sending, inputs: list[Input]) -> "UploadResult":
    from treering.errors import TreeringError  # noqa: PLC0415 - start-up

    done_bytes, uploader = 0, sending.uploader
    try:
        with SendProgress(0 if any(each.name == STDIN for each in inputs) else sum(each.size for each in inputs)) as progress:
            for source in inputs:
                done_bytes = sending.send(source, progress, done_bytes)
            return uploader.close()
    except TreeringError as error:
        raise Refusal(_unfinished(explain(error), uploader.abort(), sending)) from error
    except NotTextError as error:
        uploader.abort()
        raise typer.BadParameter(str(error)) from None
    except KeyboardInterrupt:
        raise Refusal(_unfinished("interrupted", uploader.abort(), sending)) from None


def _unfinished(problem: str, result: "UploadResult", sending: _Sending) -> str:
    stored = result.accepted + result.duplicate
    return (
        f"{problem}\n{stored:,} of {sending.records:,} records read are stored for certain;"
        f" send the same files again with --producer-id {result.producer_id} and none is stored twice"
    )


def _wait(client: "Client", result: "UploadResult", timeout_s: float) -> None:
    from treering.cli.visibility import wait_visible  # noqa: PLC0415 - start-up

    wait_visible(client, result.positions, timeout_s)


def _report(sending: _Sending, result: "UploadResult") -> None:
    from treering.cli.escaping import to_json  # noqa: PLC0415 - start-up

    counts = {
        "accepted": result.accepted,
        "duplicate": result.duplicate,
        "rejected": result.rejected,
        "end_offset": result.end_offset,
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
