"""`treering tail`: records as they become visible."""

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from treering.cli.connection import Connection
from treering.cli.escaping import to_json
from treering.cli.output import answer, note
from treering.cli.selecting import Selecting

if TYPE_CHECKING:
    from treering.client import Client

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
    from treering.cli.records_json import record_json, record_line  # noqa: PLC0415 - start-up

    with connection.client() as client:
        for response in _responses(client, selecting.filter(), lines):
            for record in response.records:
                answer(to_json(record_json(record)) if json else record_line(record))
            if response.skipped_count:
                note(f"treering: {response.skipped_count:,} records were skipped, they come faster than they are read here")
            sys.stdout.flush()
            if not follow:
                return


def _responses(client: "Client", selected: Any, backlog: int) -> Iterator[Any]:
    """Answers without end: after a lost connection it goes on where it was."""
    from treering.errors import TreeringError, UnavailableError  # noqa: PLC0415 - start-up
    from treering.upload_state import Patience  # noqa: PLC0415

    start: tuple[Any, ...] = ()
    patience = Patience(_RETRY_FOR_S)
    answered = False
    while True:
        try:
            for response in client.tail_logs(filter=selected, backlog=0 if start else backlog, start=start):
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
