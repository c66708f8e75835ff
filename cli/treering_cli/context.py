"""`treering context`: a record among its neighbours."""

from functools import partial
from typing import Annotated

import typer

from treering_cli.connection import Connection
from treering_cli.costs import Costs, cost_json, total
from treering_cli.ids import id_of
from treering_cli.output import answer, answer_json


def context(
    offset: Annotated[int, typer.Argument(min=0, help="The record's offset, as search and tail show it.")],
    *,
    connection: Connection,
    costs: Costs,
    before: Annotated[int, typer.Option(min=0, max=1_000, help="How many records before it.")] = 10,
    after: Annotated[int, typer.Option(min=0, max=1_000, help="How many records after it.")] = 10,
    all_services: Annotated[bool, typer.Option("--all-services", help="Neighbours of every service, not only of its own.")] = False,
    log_id: Annotated[str, typer.Option(metavar="ID", help="The log, where there are several.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Answer with JSON.")] = False,
) -> None:
    """Show a record among its neighbours of the same service."""
    from treering_cli.records_json import record_json, record_line  # noqa: PLC0415 - start-up

    log = id_of("--log-id", log_id) if log_id else 0
    if offset >= 2**64:
        raise typer.BadParameter(f"{offset} is no offset; offsets are below 2^64")
    with connection.client() as client:
        ask = partial(client.get_log_context, offset, log_id=log, before=before, after=after, all_services=all_services)
        page = ask()
        found, answers = list(page.records), [page.cost]
        while page.next_page_token:
            page = ask(page_token=page.next_page_token)
            found += page.records
            answers.append(page.cost)
    found.sort(key=lambda record: record.position.offset)
    place = next(index for index, record in enumerate(found) if record.position.offset == offset)
    if json:
        records = [record_json(record) for record in found]
        answer_json({"index": place, "records": records, "cost": cost_json(total(answers))})
    for index, record in enumerate(found if not json else ()):
        answer(("> " if index == place else "  ") + record_line(record))
    costs.show(total(answers), json=json)
