"""`treering aggregate`: counts and other numbers, by group and over time."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import typer

from treering.severity import severity_name
from treering_cli import near_keys
from treering_cli.connection import Connection
from treering_cli.costs import Costs
from treering_cli.field_names import field_names
from treering_cli.output import answer_json, answer_table, note, rfc3339
from treering_cli.selecting import Selecting, duration_s

_STACKED = (["count"], ["rate"])
"""What adds up over severities, so that bars may be stacked."""


def aggregate(
    *,
    selecting: Selecting,
    connection: Connection,
    costs: Costs,
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD,...",
            help="Group by: service, environment, severity, pattern, template, message, trace_id, an attribute, last about:TEXT; "
            "may be repeated.",
        ),
    ] = None,
    bucket: Annotated[
        str, typer.Option(metavar="DURATION", help="Length of a time bucket: 30s, 5m, 1h. From --since to --until, or to now.")
    ] = "",
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC", help="count, rate, distinct:FIELD, min:ATTR, max:ATTR, avg:ATTR, sum:ATTR, p95:ATTR; may be repeated."
        ),
    ] = None,
    time_zone: Annotated[str, typer.Option(metavar="ZONE", help="Zone that buckets are cut in, for example Europe/Warsaw.")] = "",
    order: Annotated[
        Literal["bucket", "largest", "smallest", "group"],
        typer.Option(help="By time and largest number, by the largest or smallest number, or by the groups' values."),
    ] = "bucket",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many groups.")] = 1_000,
    json: Annotated[bool, typer.Option("--json", help="Answer with JSON.")] = False,
) -> None:
    """Count records, or compute other numbers, by group and over time; draws bars, stacked by severity with --by severity --bucket 5m."""
    fields = [name for each in by or () for name in field_names(each)]
    metrics = [text.strip() for each in metric or ["count"] for text in each.split(",")]
    bucket_s = _bucket_s(bucket) if bucket else None
    chosen = selecting.filter()
    with connection.client() as client:
        try:
            found = client.aggregate_logs(
                by=fields, metric=metrics, filter=chosen, bucket_s=bucket_s, time_zone=time_zone, order=order, limit=limit
            )
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        if not any(value.value for row in found.rows for value in row.values):
            near_keys.hint(client, chosen)
    if json:
        answer_json([_row_json(row, fields, metrics, bucketed=bool(bucket_s)) for row in found.rows])
    elif bucket_s and fields == ["severity"] and metrics in _STACKED and found.rows:
        _show_stacked(found.rows, _times_in(time_zone))
    else:
        _show(found.rows, fields, metrics, _times_in(time_zone) if bucket_s else None)
    if found.degraded_because:
        note(f"treering: {found.degraded_because}")
    if found.truncated:
        note(f"treering: only the first {limit:,} groups; ask for more with --limit, or group by less")
    costs.show(found.cost, json=json)


def _bucket_s(bucket: str) -> float:
    length = duration_s(bucket)
    if not length:
        raise typer.BadParameter(f"--bucket {bucket!r} has no length; write 30s, 5m or 1h, or leave it out")
    return length


def _row_json(row: Any, fields: list[str], metrics: list[str], *, bucketed: bool) -> dict[str, Any]:
    values: dict[str, Any] = {"bucket": rfc3339(row.bucket_start_unix_nano)} if bucketed else {}
    for name, group in zip(fields, row.groups, strict=True):
        values[name] = _group(name, group)
        if name in {"pattern", "template"}:
            values[f"{name}_text"] = group.text
    for name, value in zip(metrics, row.values, strict=True):
        values[name] = _number(value)
    return values


def _group(name: str, group: Any) -> str | None:
    """The value of a group: a severity as its word; None where records lack the attribute."""
    if not group.HasField("value"):
        return None
    value: str = group.value
    return severity_name(int(value)) if name == "severity" and value.isdigit() else value


def _number(value: Any) -> float | int | None:
    """Whole numbers as integers: counts are what people ask for most."""
    if not value.HasField("value"):
        return None
    number: float = value.value
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _times_in(zone: str) -> Callable[[int], str]:
    """How people read the start of a bucket: in the zone that buckets are cut in, if this machine knows it."""
    import datetime as dt  # noqa: PLC0415 - start-up
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415

    try:
        known = ZoneInfo(zone) if zone else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        known = None
    if known is None:
        return rfc3339
    start = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return lambda nanos: (start + dt.timedelta(microseconds=nanos // 1_000)).astimezone(known).isoformat()


def _show_stacked(rows: Any, time: Callable[[int], str]) -> None:
    from treering_cli import histogram  # noqa: PLC0415 - start-up

    buckets: dict[int, dict[int, float]] = {}
    for row in rows:
        buckets.setdefault(row.bucket_start_unix_nano, {})[int(row.groups[0].value)] = row.values[0].value
    histogram.show(dict(sorted(buckets.items())), time)


def _show(rows: Any, fields: list[str], metrics: list[str], time: Callable[[int], str] | None) -> None:
    from treering_cli.chart import Bar  # noqa: PLC0415 - start-up

    if not rows:
        note("nothing is selected")
        return
    columns = [*(["time"] if time else []), *fields, *metrics, ""]
    numbers = [[_number(value) for value in row.values] for row in rows]
    largest = max((abs(each[0]) for each in numbers if each[0] is not None), default=0)
    lines = []
    for row, values in zip(rows, numbers, strict=True):
        groups = [(group.text or _group(name, group)) or "" for name, group in zip(fields, row.groups, strict=True)]
        start = [time(row.bucket_start_unix_nano)] if time else []
        lines.append([*start, *groups, *(_text(value) for value in values), Bar(values[0], largest)])
    first = len(fields) + bool(time)
    answer_table(columns, lines, right=range(first, first + len(metrics)))


def _text(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" if abs(value) < 1_000 else f"{value:,.1f}"
