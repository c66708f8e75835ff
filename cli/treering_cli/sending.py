"""A send on its way: inputs become records, records go to the uploader."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import typer

from treering_cli.choosing import Choice
from treering_cli.inputs import Input
from treering_cli.problems import INTERRUPTED, REFUSED, Refusal
from treering_cli.reading import ReaderFactory
from treering_cli.send_progress import SendProgress
from treering_cli.send_report import FileReport
from treering_cli.text_streams import NotTextError, Text
from treering_formats.reader import QUIET

if TYPE_CHECKING:
    from treering.client import Client
    from treering.patience import OnOutage
    from treering.upload_options import UploaderOptions
    from treering.upload_state import UploadResult
    from treering.uploader import Uploader
    from treering.v1.log_pb2 import LogRecord

_UPDATE_EVERY = 1_000
_PIPE_LINGER_S = 0.3


@dataclass
class Sending:
    """A send on its way, and how it ended."""

    inputs: list[Input]
    reading: ReaderFactory
    choice: Choice
    resource: Mapping[str, str] = field(default_factory=dict)
    """Attributes that hold for all records."""
    known: int = 0
    """Records that are stored under the same producer id and are not read again."""
    records: int = 0
    reports: list[FileReport] = field(default_factory=list)
    uploader: "Uploader" = field(init=False)
    result: "UploadResult" = field(init=False)
    visible: bool | None = None
    problem: Exception | None = None

    @property
    def is_pipe(self) -> bool:
        """Whether something is read that cannot be read again."""
        return any(each.is_pipe for each in self.inputs)

    @property
    def stored(self) -> int:
        """Records that are durable."""
        return self.result.accepted + self.duplicate

    @property
    def duplicate(self) -> int:
        """Records that an earlier send under the same producer id stored."""
        return self.result.duplicate + self.known

    def run(self, client: "Client", producer_id: str, retry_for_s: float) -> None:
        """Sends every input; an error that ends it early is kept as `problem`."""
        sizes = [each.size for each in self.inputs]
        with SendProgress(sum(sizes) if all(sizes) else 0) as progress:
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
        options: UploaderOptions = {
            "retry_for_s": retry_for_s,
            "on_outage": self._outage(progress, address),
            "resource": self.resource,
            "linger_s": _PIPE_LINGER_S,
        }
        return options if self.is_pipe else {**options, "linger_s": math.inf, "drain_for_s": 0.0}

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
            with source.open() as text:
                done_bytes += self._send(source, text, progress, done_bytes)
                if text.was_interrupted:
                    raise KeyboardInterrupt

    def _send(self, source: Input, text: Text, progress: SendProgress, done_bytes: int) -> int:
        """Sends one input; returns how many bytes were read of it."""
        reader = self.reading.reader(text, source.name)
        report = FileReport(source.name)
        self.reports.append(report)
        left_out_before = self.choice.left_out
        try:
            for number, record in reader:
                if number == QUIET:
                    for held, waiting in reader.flush():
                        self._take(source, report, held, waiting)
                    continue
                self._take(source, report, number, record)
                if not self.records % _UPDATE_EVERY:
                    progress.update(done_bytes + reader.bytes_read, self.records)
        finally:
            # Also of an input whose reading was ended by an error: the report says how far it came.
            report.take(reader)
            report.left_out = self.choice.left_out - left_out_before
            report.problem = text.problem
        return reader.bytes_read

    def _take(self, source: Input, report: FileReport, number: int, record: "LogRecord") -> None:
        if not self.choice.takes(record, number):
            return
        report.records += 1
        self.uploader.send(record, (source.name, number))
        self.records += 1

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
        if self.result.rejected or any(each.problem for each in self.reports):
            raise typer.Exit(REFUSED)
