"""`treering list`: records, newest first."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from treering_cli import near_keys
from treering_cli.connection import Connection
from treering_cli.costs import Costs, cost_json
from treering_cli.output import answer, answer_json, note
from treering_cli.pages import listed
from treering_cli.selecting import Selecting

if TYPE_CHECKING:
    from treering.v1.log_pb2 import StoredRecord


def list_logs(
    *,
    selecting: Selecting,
    connection: Connection,
    costs: Costs,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many records.")] = 50,
    order: Annotated[
        Literal["newest", "oldest", "position"], typer.Option(help="Newest or oldest first, by time; or in the order of the log.")
    ] = "newest",
    max_message_bytes: Annotated[
        int | None, typer.Option(metavar="BYTES", min=1, max=1_048_576, help="Cut longer messages, and say how long they are.")
    ] = None,
    page_token: Annotated[
        str, typer.Option(help="Go on after an earlier answer: its `next_page_token`, with the same filters, order and cut.")
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Answer with JSON.")] = False,
) -> None:
    """List records, newest first."""
    chosen = selecting.filter()
    with connection.client() as client:

        def ask(size: int, token: str) -> Any:
            return client.list_logs(filter=chosen, order=order, max_message_bytes=max_message_bytes, page_size=size, page_token=token)

        found = listed(ask, "records", limit, page_token)
        if not found.entries:
            near_keys.hint(client, chosen)
    if json:
        from treering_cli.records_json import record_json  # noqa: PLC0415 - start-up

        records = [record_json(record) for record in found.entries]
        answer_json({"records": records, "next_page_token": found.next_page_token, "cost": cost_json(found.cost)})
    else:
        _show(found.entries)
        if found.next_page_token:
            note(f"treering: there are more than {limit:,}; more with --limit, or narrow the time with --since and --until")
    costs.show(found.cost, json=json)


def _show(records: list["StoredRecord"]) -> None:
    from treering_cli.records_json import record_line  # noqa: PLC0415 - start-up

    for record in records:
        cut = f" [... {record.whole_message_bytes:,} bytes]" if record.whole_message_bytes else ""
        answer(record_line(record) + cut)
    if not records:
        note("nothing is selected")
