"""`treering patterns`: what kinds of messages there are."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from treering.severity import severity_name
from treering_cli import near_keys
from treering_cli.connection import Connection
from treering_cli.costs import Costs
from treering_cli.output import answer_json, answer_table, note, rfc3339
from treering_cli.pages import listed
from treering_cli.selecting import Selecting

if TYPE_CHECKING:
    from treering.calls import PatternOrder

_SPARKLINE_PARTS = 20


def patterns(
    *,
    selecting: Selecting,
    connection: Connection,
    costs: Costs,
    sort: Annotated[
        Literal["count", "rarity", "newest", "last-seen", "growth"],
        typer.Option(
            help="Most records first, fewest first, latest first appearance first, latest record first, most grown first "
            "(the second half of the time compared with the first)."
        ),
    ] = "count",
    unit: Annotated[
        Literal["pattern", "template"],
        typer.Option(help="Patterns of one service, or templates: what differs in one variable word or in the service, taken together."),
    ] = "pattern",
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many.")] = 50,
    sparkline: Annotated[bool, typer.Option(help="Show records over time; without it no record is read.")] = True,
    json: Annotated[bool, typer.Option("--json", help="Answer with JSON.")] = False,
) -> None:
    """List the patterns of messages, or templates, with counts and their course over time."""
    chosen = selecting.filter()
    with connection.client() as client:
        ask = partial(
            client.list_patterns,
            filter=chosen,
            order=cast("PatternOrder", sort.replace("-", "_")),
            unit=unit,
            sparkline_buckets=_SPARKLINE_PARTS if sparkline else None,
        )
        found = listed(lambda size, token: ask(page_size=size, page_token=token), "patterns", limit)
        if not found.entries:
            near_keys.hint(client, chosen)
    if json:
        answer_json([pattern_json(pattern) for pattern in found.entries])
    elif found.entries:
        show_patterns(found.entries, unit)
    else:
        note("nothing is selected")
    costs.show(found.cost, json=json)


def show_patterns(found: list[Any], unit: str) -> None:
    """A table of patterns or templates."""
    from treering_cli.chart import sparkline  # noqa: PLC0415 - start-up

    rows = (
        [
            f"{each.count:,}",
            sparkline(each.sparkline),
            rfc3339(each.first_time_unix_nano),
            rfc3339(each.last_time_unix_nano),
            ", ".join(each.services) or each.service,
            each.text,
            str(each.pattern_id),
        ]
        for each in found
    )
    answer_table(["records", "over time", "first", "last", "service", unit, "id"], rows, right=[0], optional=[2, 3, 1])


def pattern_json(pattern: Any) -> dict[str, Any]:
    """One pattern or template; ids are decimal strings, because they exceed what JSON's numbers hold everywhere."""
    fields: dict[str, Any] = {
        "pattern_id": str(pattern.pattern_id),
        "template_id": str(pattern.template_id),
        "service": pattern.service,
        "pattern": pattern.text,
        "example": pattern.example,
        "count": pattern.count,
        "first_time": rfc3339(pattern.first_time_unix_nano),
        "last_time": rfc3339(pattern.last_time_unix_nano),
        "rate_per_second": pattern.rate_per_second,
        "growth": pattern.growth,
        "sparkline": list(pattern.sparkline),
        "count_by_severity": {severity_name(number): count for number, count in sorted(pattern.count_by_severity.items())},
    }
    if pattern.pattern_count:
        fields |= {"pattern_count": pattern.pattern_count, "services": list(pattern.services)}
    return fields
