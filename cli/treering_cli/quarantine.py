"""`treering quarantine`: records that a sink could not read and set aside; they hold nothing up, and none is lost."""

import base64
import itertools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from treering_cli.connection import Connection
from treering_cli.escaping import to_json
from treering_cli.ids import id_of
from treering_cli.inner import Inner
from treering_cli.option_groups import with_groups
from treering_cli.output import answer, answer_json, answer_table, note, rfc3339
from treering_cli.problems import REFUSED, Refusal

if TYPE_CHECKING:
    from treering.admin import AdminClient
    from treering.quarantine import SinkName, SinkQuarantine
    from treering.v1.sink_pb2 import QuarantinedRecords, RetryQuarantinedResponse

quarantine = typer.Typer(help="Records that could not be read and were set aside.", no_args_is_help=True, rich_markup_mode=None)

SINKS: tuple["SinkName", ...] = ("query", "embed")
_LIST_S = 600.0
_SAY_EVERY_S = 10.0


@dataclass(frozen=True)
class Choosing:
    """Options that say which of the records are meant."""

    sink: Annotated[Literal["query", "embed", "all"], typer.Option(help="Whose: query keeps records, embed their meaning.")] = "all"
    log: Annotated[str, typer.Option("--log", metavar="ID", help="Only of this log, by its id; 0 = every log.")] = "0"
    first: Annotated[int, typer.Option("--from", min=0, metavar="OFFSET", help="Only from this offset on.")] = 0
    end: Annotated[int, typer.Option("--to", min=0, metavar="OFFSET", help="Only below this offset; 0 = to the end.")] = 0

    def sinks(self) -> tuple["SinkName", ...]:
        """The names of the sinks that are meant."""
        return SINKS if self.sink == "all" else (self.sink,)

    def of(self, admin: "AdminClient", sink: "SinkName") -> "SinkQuarantine":
        """The quarantine of one of them."""
        if 0 < self.end <= self.first:
            raise Refusal(f"--to {self.end} is not above --from {self.first}; nothing lies between")
        return admin.quarantine(sink, log_id=id_of("--log", self.log), first_offset=self.first, end_offset_exclusive=self.end)


def _list(
    *,
    choosing: Choosing,
    connection: Connection,
    inner: Inner,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="At most so many entries of each sink; 0 = all.")] = 0,
    payload: Annotated[bool, typer.Option("--payload", help="With the records' bytes (base64); needs --json.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Answer with JSON, an object a line.")] = False,
) -> None:
    """List what is set aside, and why."""
    if payload and not json:
        raise Refusal("--payload prints bytes that a terminal cannot show; add --json")
    rows = []
    with inner.admin(connection) as admin:
        for sink in choosing.sinks():
            for entry in itertools.islice(choosing.of(admin, sink).entries(with_payload=payload, timeout=_LIST_S), limit or None):
                if json:
                    answer(to_json(_as_json(sink, entry)))
                else:
                    rows.append(_row(sink, entry))
    if json:
        return
    if not rows:
        note("nothing is set aside")
        return
    answer_table(("sink", "log", "offset", "records", "bytes", "arrived", "reason"), rows, right=(2, 3, 4))


def _row(sink: str, entry: "QuarantinedRecords") -> list[str]:
    counts = (entry.first_offset, entry.record_count, entry.payload_bytes)
    return [sink, str(entry.log_id), *map(str, counts), rfc3339(entry.arrival_time_unix_nano), entry.reason]


def _as_json(sink: str, entry: "QuarantinedRecords") -> dict[str, Any]:
    found = {
        "sink": sink,
        "log_id": str(entry.log_id),
        "first_offset": entry.first_offset,
        "record_count": entry.record_count,
        "arrival_time": rfc3339(entry.arrival_time_unix_nano),
        "payload_bytes": entry.payload_bytes,
        "reason": entry.reason,
    }
    return found | ({"payload": base64.b64encode(entry.payload).decode()} if entry.payload else {})


def _retry(
    *,
    choosing: Choosing,
    connection: Connection,
    inner: Inner,
    json: Annotated[bool, typer.Option("--json", help="Answer with JSON.")] = False,
) -> None:
    """Have what is set aside read again; what can be read now is stored. Exit code 1 when some of it still cannot be read."""
    with inner.admin(connection) as admin:
        results = {sink: _retried(choosing, admin, sink) for sink in choosing.sinks()}
    if json:
        answer_json({sink: _counts(result) for sink, result in results.items()})
    else:
        for sink, result in results.items():
            left = result.tried_count - result.stored_count
            rest = f", {left:,} still cannot be read: treering quarantine list --sink {sink}" if left else ""
            answer(f"{sink}: {result.tried_count:,} records read again, {result.stored_count:,} stored{rest}")
    if any(result.tried_count > result.stored_count for result in results.values()):
        raise typer.Exit(REFUSED)


def _retried(choosing: Choosing, admin: "AdminClient", sink: "SinkName") -> "RetryQuarantinedResponse":
    from treering.errors import UnavailableError  # noqa: PLC0415 - start-up
    from treering.v1.sink_pb2 import RetryQuarantinedResponse  # noqa: PLC0415

    result, said = RetryQuarantinedResponse(), time.monotonic()
    try:
        for result in choosing.of(admin, sink).retry():
            if time.monotonic() - said > _SAY_EVERY_S:
                said = time.monotonic()
                note(f"treering: {sink}: {result.tried_count:,} records read again, {result.stored_count:,} stored")
    except UnavailableError as error:
        raise Refusal(
            f"{sink}: {error.message}; {result.stored_count:,} records were stored before. "
            f"If {sink} ended because of a record, that one stays set aside: go around it with --from and --to"
        ) from error
    return result


def _counts(result: "RetryQuarantinedResponse") -> dict[str, int]:
    return {"tried": result.tried_count, "stored": result.stored_count, "quarantined": result.quarantined_count}


quarantine.command("list")(with_groups(_list))
quarantine.command("retry")(with_groups(_retry))
