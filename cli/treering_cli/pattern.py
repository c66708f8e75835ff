"""`treering pattern`: one pattern or template in depth."""

from typing import Annotated, Any, Literal

import typer

from treering_cli.connection import Connection
from treering_cli.costs import Costs, cost_json
from treering_cli.escaping import escape
from treering_cli.ids import id_of
from treering_cli.output import answer, answer_json, answer_table, note, rfc3339
from treering_cli.patterns import pattern_json, show_patterns
from treering_cli.selecting import Selecting


def pattern(
    pattern_id: Annotated[str, typer.Argument(metavar="ID", help="The id, as patterns and search show it.")],
    *,
    selecting: Selecting,
    connection: Connection,
    costs: Costs,
    unit: Annotated[Literal["pattern", "template"], typer.Option(help="What the id names.")] = "pattern",
    buckets: Annotated[int, typer.Option(min=2, max=1_000, help="In how many parts of time its records are counted.")] = 60,
    values: Annotated[int, typer.Option(min=1, max=1_000, help="How many values of each variable part are shown.")] = 10,
    samples: Annotated[int, typer.Option(min=0, max=100, help="How many records are shown.")] = 3,
    json: Annotated[bool, typer.Option("--json", help="Answer with JSON.")] = False,
) -> None:
    """Show one pattern in depth: its records over time, and the values of its variable parts."""
    identity = id_of("ID", pattern_id)
    with connection.client() as client:
        found = client.get_pattern(
            identity, unit=unit, filter=selecting.filter(), buckets=buckets, values_per_variable=values, samples=samples
        )
    if json:
        answer_json(_as_json(found) | {"cost": cost_json(found.cost)})
    else:
        _show(found)
    costs.show(found.cost, json=json)


def _as_json(found: Any) -> dict[str, Any]:
    from treering_cli.records_json import record_json  # noqa: PLC0415 - start-up

    return {
        **pattern_json(found.pattern),
        "sparkline_start": rfc3339(found.sparkline_start_unix_nano),
        "sparkline_end": rfc3339(found.sparkline_end_unix_nano),
        "variables": [
            {
                "place": variable.place,
                "distinct_count": variable.distinct_count,
                "values": [{"value": each.value, "count": each.count} for each in variable.values],
            }
            for variable in found.variables
        ],
        "variables_read_count": found.variables_read_count,
        "members": [pattern_json(member) for member in found.members],
        "records": [record_json(record) for record in found.records],
    }


def _show(found: Any) -> None:
    from treering_cli.chart import sparkline  # noqa: PLC0415 - start-up
    from treering_cli.records_json import record_line  # noqa: PLC0415

    shown = found.pattern
    answer(f"{escape(', '.join(shown.services) or shown.service)}: {escape(shown.text)}")
    if not shown.count:
        note("none of its records is selected")
        return
    answer(f"{shown.count:,} record{'s' if shown.count != 1 else ''}, {shown.rate_per_second:,.4g} a second, template {shown.template_id}")
    answer(f"{rfc3339(found.sparkline_start_unix_nano)} {sparkline(shown.sparkline)} {rfc3339(found.sparkline_end_unix_nano)}")
    if found.variables:
        answer("")
        _show_variables(found)
    if len(found.members) > 1:
        answer("")
        show_patterns(list(found.members), "pattern")
    if found.records:
        answer("")
    for record in found.records:
        answer(record_line(record))


def _show_variables(found: Any) -> None:
    rows = (
        [
            variable.place if not index else "",
            f"{variable.distinct_count:,}" if not index else "",
            each.value,
            f"{each.count:,}",
        ]
        for variable in found.variables
        for index, each in enumerate(variable.values)
    )
    answer_table(["variable", "distinct", "value", "records"], rows, right=[1, 3])
    if found.variables_read_count < found.pattern.count:
        note(f"treering: values are those of the newest {found.variables_read_count:,} of {found.pattern.count:,} records")
