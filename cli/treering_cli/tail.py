"""`treering tail`: records as they become visible."""

import sys
from typing import Annotated

import typer

from treering_cli.connection import Connection
from treering_cli.escaping import to_json
from treering_cli.output import answer, note
from treering_cli.resuming import resuming
from treering_cli.selecting import Selecting

_RETRY_FOR_S = 60.0


def tail(
    *,
    selecting: Selecting,
    connection: Connection,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, max=10_000, help="Begin with this many of the newest records.")] = 10,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Go on with new records until Ctrl-C.")] = True,
    json: Annotated[bool, typer.Option("--json", help="A JSON object a line.")] = False,
) -> None:
    """Show records as they become visible, after the newest ones that are there already."""
    from treering_cli.records_json import record_json, record_line  # noqa: PLC0415 - start-up

    selected = selecting.filter()
    with connection.client() as client:
        responses = resuming(
            lambda start: client.tail_logs(filter=selected, backlog=0 if start else lines, start=start),
            client.endpoints.query,
            _RETRY_FOR_S,
        )
        for response in responses:
            for record in response.records:
                answer(to_json(record_json(record)) if json else record_line(record))
            if response.skipped_count:
                note(f"treering: {response.skipped_count:,} records were skipped, they come faster than they are read here")
            sys.stdout.flush()
            if not follow:
                return
