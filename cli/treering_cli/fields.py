"""`treering fields`: which fields records have."""

from typing import Annotated, Any

import typer

from treering_cli.connection import Connection
from treering_cli.costs import Costs, cost_json
from treering_cli.output import answer_json, answer_table, note
from treering_cli.pages import listed
from treering_cli.selecting import Selecting


def fields(
    *,
    selecting: Selecting,
    connection: Connection,
    costs: Costs,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many fields.")] = 1_000,
    json: Annotated[bool, typer.Option("--json", help="Answer with JSON.")] = False,
) -> None:
    """List the fields that records have: built-in ones, then attributes, with counts and what their values look like."""
    chosen = selecting.filter()
    with connection.client() as client:
        found = listed(lambda size, token: client.list_fields(filter=chosen, page_size=size, page_token=token), "fields", limit)
    records = found.last.record_count
    if json:
        whole = {"record_count": records, "total_count": found.last.total_count, "next_page_token": found.next_page_token}
        answer_json({"fields": [_field_json(each) for each in found.entries], **whole, "cost": cost_json(found.cost)})
    else:
        _show(found.entries, records)
        if found.next_page_token:
            note(f"treering: the first {len(found.entries):,} of {found.last.total_count:,} fields; more with --limit")
    costs.show(found.cost, json=json)


def _field_json(field: Any) -> dict[str, Any]:
    from treering.metrics import field_name  # noqa: PLC0415 - start-up

    return {
        "field": field_name(field.field),
        "is_attribute": field.field.HasField("attribute"),
        "record_count": field.record_count,
        "kinds": {_kind(each.kind): each.count for each in field.kinds},
    }


def _show(found: list[Any], records: int) -> None:
    from treering.metrics import field_name  # noqa: PLC0415 - start-up

    if not records:
        note("nothing is selected")
        return
    rows = (
        [field_name(each.field), f"{each.record_count:,}", f"{each.record_count / records:.1%}", _kinds(each)]
        for each in found
        if each.record_count
    )
    answer_table(["field", "records", "share", "kinds"], rows, right=[1, 2])


def _kinds(field: Any) -> str:
    """The kinds of its values, and where there are several, the share of each."""
    if len(field.kinds) == 1:
        return _kind(field.kinds[0].kind)
    return ", ".join(f"{_kind(each.kind)} {each.count / field.record_count:.1%}" for each in field.kinds)


def _kind(number: int) -> str:
    from treering.v1.query_pb2 import FieldKind  # noqa: PLC0415 - start-up

    return FieldKind.Name(number).removeprefix("FIELD_KIND_").lower()  # type: ignore[arg-type]  # a number of the contract
