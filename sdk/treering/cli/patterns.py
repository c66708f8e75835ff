"""`treering patterns`: what kinds of messages there are."""

import itertools
from typing import Annotated, Any, Literal

import typer

from treering.cli.connection import Connection
from treering.cli.output import answer_json, answer_table, note, rfc3339
from treering.cli.selecting import Selecting


def patterns(
    *,
    selecting: Selecting,
    connection: Connection,
    order: Annotated[
        Literal["count", "rarity", "newest", "last_seen"],
        typer.Option(help="Most records first, fewest first, latest first appearance first, latest record first."),
    ] = "count",
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many patterns.")] = 50,
    json: Annotated[bool, typer.Option("--json", help="Answer with JSON.")] = False,
) -> None:
    """List the patterns of messages, with counts."""
    with connection.client() as client:
        found = list(itertools.islice(client.patterns(filter=selecting.filter(), order=order), limit))
    if json:
        answer_json([_as_json(pattern) for pattern in found])
        return
    if not found:
        note("nothing is selected")
        return
    rows = (
        [f"{each.count:,}", rfc3339(each.first_time_unix_nano), rfc3339(each.last_time_unix_nano), each.service, each.text]
        for each in found
    )
    answer_table(["records", "first", "last", "service", "pattern"], rows, right=[0])


def _as_json(pattern: Any) -> dict[str, Any]:
    from treering.selection import severity_name  # noqa: PLC0415 - start-up

    return {
        "pattern_id": str(pattern.pattern_id),
        "service": pattern.service,
        "pattern": pattern.text,
        "example": pattern.example,
        "count": pattern.count,
        "first_time": rfc3339(pattern.first_time_unix_nano),
        "last_time": rfc3339(pattern.last_time_unix_nano),
        "count_by_severity": {severity_name(number): count for number, count in sorted(pattern.count_by_severity.items())},
    }
