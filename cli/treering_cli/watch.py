"""`treering watch`: patterns that were never seen before, as they come."""

import dataclasses
import datetime as dt
import sys
from typing import Annotated, Any

import typer

from treering_cli.connection import Connection
from treering_cli.escaping import escape, to_json
from treering_cli.output import answer, note, rfc3339
from treering_cli.resuming import resuming
from treering_cli.selecting import Selecting, time_of

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
    since = time_of("--since", selecting.since or _DEFAULT_SINCE, dt.datetime.now(dt.UTC))
    chosen = dataclasses.replace(selecting, since=None).filter()
    with connection.client() as client:
        responses = resuming(
            lambda start: client.watch_patterns(filter=chosen, start=start, since=since), client.endpoints.query, _RETRY_FOR_S
        )
        for number, response in enumerate(responses):
            if not number:
                note("treering: watching for patterns that were never seen before; Ctrl-C ends it")
            if response.HasField("pattern"):
                answer(to_json(_as_json(response)) if json else _line(response))
                sys.stdout.flush()


def _as_json(response: Any) -> dict[str, Any]:
    from treering_cli.records_json import record_json  # noqa: PLC0415 - start-up

    pattern = response.pattern
    return {
        "pattern_id": str(pattern.pattern_id),
        "service": pattern.service,
        "pattern": pattern.text,
        "example": pattern.example,
        "count": pattern.count,
        "first_time": rfc3339(pattern.first_time_unix_nano),
        "record": record_json(response.first_record) if response.HasField("first_record") else None,
        "resume_from": [{"log_id": str(each.log_id), "offset": each.offset} for each in response.resume_from],
    }


def _line(response: Any) -> str:
    from treering_cli.records_json import record_line  # noqa: PLC0415 - start-up

    if response.HasField("first_record"):
        return "new " + record_line(response.first_record)
    return escape(f"new {'-':>9}  {rfc3339(response.pattern.first_time_unix_nano):24}  {response.pattern.service}  {response.pattern.text}")
