"""`treering values`: the most frequent values of some fields."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from treering.severity import severity_name
from treering_cli.connection import Connection
from treering_cli.costs import Costs, cost_json
from treering_cli.field_names import field_names
from treering_cli.output import answer_json, answer_table, note, rfc3339
from treering_cli.selecting import Selecting, duration_s


def values(
    fields: Annotated[
        str,
        typer.Argument(
            metavar="FIELD,...",
            help="service, environment, severity, pattern, template, message, trace_id, an attribute, last about:TEXT; at most 20.",
        ),
    ],
    *,
    selecting: Selecting,
    connection: Connection,
    costs: Costs,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="How many values of each field.")] = 10,
    budget: Annotated[
        str, typer.Option(metavar="DURATION", help="Look at the newest records only, as many as can be read in this time: 500ms, 2s.")
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Answer with JSON.")] = False,
) -> None:
    """List the most frequent values of some fields, with counts."""
    names = field_names(fields)
    if not names:
        raise typer.BadParameter("no field is named; treering fields lists them")
    with connection.client() as client:
        found = client.list_field_values(
            names, filter=selecting.filter(), values_per_field=limit, budget_ms=round(duration_s(budget) * 1000) if budget else None
        )
    if json:
        lists = [_list_json(name, each) for name, each in zip(names, found.fields, strict=True)]
        answer_json({"fields": lists, "degraded_because": found.degraded_because, "cost": cost_json(found.cost)})
    else:
        _show(names, found.fields)
    if found.degraded_because:
        note(f"treering: {found.degraded_because}")
    costs.show(found.cost, json=json)


def _list_json(name: str, found: Any) -> dict[str, Any]:
    return {
        "field": name,
        "values": [_value_json(name, each) for each in found.values],
        "distinct_count": found.distinct_count,
        "record_count": found.record_count,
        "missing_count": found.missing_count,
        "scanned_back_to": rfc3339(found.scanned_back_to_unix_nano),
        "truncated": found.truncated,
    }


def _value_json(name: str, found: Any) -> dict[str, Any]:
    return {"value": _value(name, found)} | ({f"{name}_text": found.text} if found.text else {}) | {"count": found.count}


def _value(name: str, found: Any) -> str:
    """A severity as its word, everything else as it is."""
    value: str = found.value
    return severity_name(int(value)) if name == "severity" else value


def _show(names: list[str], lists: Any) -> None:
    from treering_cli.chart import Bar  # noqa: PLC0415 - start-up

    largest = max((value.count for each in lists for value in each.values), default=0)
    rows: list[list[str | Bar]] = [
        [name if not place else "", value, f"{count:,}", Bar(count, largest)]
        for name, found in zip(names, lists, strict=True)
        for place, (value, count) in enumerate(_rows(name, found))
    ]
    if rows:
        answer_table(["field", "value", "records", ""], rows, right=[2])
    else:
        note("nothing is selected")
    times = {found.scanned_back_to_unix_nano for found in lists} - {0}
    for time in times:
        note(
            f"treering: of the records at or after {rfc3339(time)}; the time for reading was over. More with a longer --budget, or without"
        )


def _rows(name: str, found: Any) -> Iterator[tuple[str, int]]:
    """Values and counts of one field, then what is not listed."""
    yield from ((value.text or _value(name, value) or '""', value.count) for value in found.values)
    if others := found.distinct_count - len(found.values):
        yield f"({others:,} other values)", found.record_count - sum(value.count for value in found.values)
    if found.missing_count:
        yield "(none)", found.missing_count
