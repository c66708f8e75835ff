"""`treering watch`: patterns that were never seen before, as they come."""

import dataclasses
import datetime as dt
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from treering.cli.connection import Connection
from treering.cli.escaping import escape, to_json
from treering.cli.output import answer, note, rfc3339
from treering.cli.selecting import Selecting, time_of

if TYPE_CHECKING:
    from treering.client import Client

_RETRY_FOR_S = 3_600.0
"""How long a service that went away is called again, seconds: a watch is left alone for a night."""

_DEFAULT_SINCE = "10s"


def watch(
    *,
    selecting: Selecting,
    connection: Connection,
    json: Annotated[bool, typer.Option("--json", help="A JSON object a line.")] = False,
) -> None:
    """Announce patterns that were never seen before, by their first record, until Ctrl-C.

    --since 2h begins with what has arrived in the last two hours; without it, in the last ten seconds, so that nothing falls between this
    command's start and its first look. A pattern is announced when the options select its first record.
    """
    since = time_of(selecting.since or _DEFAULT_SINCE, dt.datetime.now(dt.UTC))
    chosen = dataclasses.replace(selecting, since=None).filter()
    with connection.client() as client:
        for response in _responses(client, chosen, since):
            if response.HasField("pattern"):
                answer(to_json(_as_json(response)) if json else _line(response))
                sys.stdout.flush()


def _responses(client: "Client", chosen: Any, since: int) -> Iterator[Any]:
    """Answers without end: after a lost connection it goes on where it was."""
    from treering.errors import TreeringError, UnavailableError  # noqa: PLC0415 - start-up
    from treering.upload_state import Patience  # noqa: PLC0415

    start: tuple[Any, ...] = ()
    patience = Patience(_RETRY_FOR_S)
    answered = False
    while True:
        try:
            for response in client.watch_patterns(filter=chosen, start=start, since=since):
                if not answered:
                    note("treering: watching for patterns that were never seen before; Ctrl-C ends it")
                answered = True
                patience.succeeded()
                start = tuple(response.resume_from) or start
                yield response
            error: TreeringError = UnavailableError(f"{client.endpoints.query} ended the stream")
        except UnavailableError as failure:
            if not answered:
                raise
            error = failure
        time.sleep(patience.delay(error, time.monotonic()))


def _as_json(response: Any) -> dict[str, Any]:
    from treering.cli.records_json import record_json  # noqa: PLC0415 - start-up

    pattern = response.pattern
    return {
        "pattern_id": str(pattern.pattern_id),
        "service": pattern.service,
        "pattern": pattern.text,
        "example": pattern.example,
        "count": pattern.count,
        "first_time": rfc3339(pattern.first_time_unix_nano),
        "record": record_json(response.first_record) if response.HasField("first_record") else None,
        "resume_from": [{"log_id": f"{each.log_id:016x}", "offset": each.offset} for each in response.resume_from],
    }


def _line(response: Any) -> str:
    from treering.cli.records_json import record_line  # noqa: PLC0415 - start-up

    if response.HasField("first_record"):
        return "new " + record_line(response.first_record)
    return escape(f"new {'-':>9}  {rfc3339(response.pattern.first_time_unix_nano):24}  {response.pattern.service}  {response.pattern.text}")
