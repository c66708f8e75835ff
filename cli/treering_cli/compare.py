"""`treering compare`: what is new, gone, more or less than before, or than elsewhere."""

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from treering.severity import severity_name
from treering_cli.connection import Connection
from treering_cli.costs import Costs, cost_json
from treering_cli.output import answer_json, answer_table, note, rfc3339
from treering_cli.selecting import OPTIONS_OF_KEYS, Selecting, duration_s, key_of

if TYPE_CHECKING:
    from treering.v1.log_pb2 import LogFilter

_CHANCE = 10.83
"""The log-likelihood ratio that chance alone exceeds one time in 1,000."""

_DEFAULT_SINCE = "1h"
_PANEL = "Compared with"
_CHANGES = ("", "new", "gone", "more", "less")


def compare(
    *,
    selecting: Selecting,
    connection: Connection,
    costs: Costs,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="The time of this length right before --since: 24h, 7d. Else as long as the window.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION",
            help="Records of the same time for which this holds instead of what --where says of the same key; may be repeated.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    unit: Annotated[
        Literal["pattern", "template"], typer.Option(help="Patterns of one service, or templates: alike across services.")
    ] = "pattern",
    only: Annotated[str, typer.Option(metavar="CHANGE,...", help="Only these changes: new, gone, more, less.")] = "",
    min_ratio: Annotated[
        float, typer.Option(min=0, help="Leave out `more` and `less` below this log-likelihood ratio; 10.83 is 1 in 1,000 by chance.")
    ] = _CHANCE,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many differences.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="Answer with JSON.")] = False,
) -> None:
    """Compare the patterns of two selections: what is new since the deploy, what is gone, what is more, what is less.

    By time: the window from --since (1h ago) to --until (now), with the time of length --baseline right before it. By anything else:
    --where version=1.2 --against version=1.1 compares the two releases. Counts are exact, and ranked by log-likelihood ratio.
    """
    looked_at, other = _against(selecting, against) if against else _windows(selecting, baseline)
    if against and baseline:
        raise typer.BadParameter("--baseline compares with an earlier time, --against with other records of the same time; give one")
    with connection.client() as client:
        found = client.compare_patterns(
            looked_at, other, unit=unit, changes=_changes(only), min_log_likelihood_ratio=min_ratio, page_size=limit
        )
    if json:
        answer_json(_as_json(found, looked_at, other) | {"cost": cost_json(found.cost)})
    else:
        _show(found)
    for count, name in ((found.total_count, "what is looked at"), (found.baseline_total_count, "the baseline")):
        if not count:
            note(f"treering: {name} selects no record at all; look at the times and the filter")
    costs.show(found.cost, json=json)


def _changes(only: str) -> list[Any]:
    wanted = [word.strip() for word in only.split(",") if word.strip()]
    for word in wanted:
        if word not in _CHANGES[1:]:
            raise typer.BadParameter(f"--only {word!r} is none of {', '.join(_CHANGES[1:])}")
    return wanted


def _windows(selecting: Selecting, baseline: str | None) -> tuple["LogFilter", "LogFilter"]:
    """The window, and the time right before it, under the same other conditions."""
    from treering.v1.log_pb2 import LogFilter  # noqa: PLC0415 - start-up

    now = dt.datetime.now(dt.UTC)
    looked_at = dataclasses.replace(selecting, since=selecting.since or _DEFAULT_SINCE, until=selecting.until or "now").filter(now)
    start, end = looked_at.start_time_unix_nano, looked_at.end_time_unix_nano
    if end <= start:
        raise typer.BadParameter("--until is not after --since")
    length = round(duration_s(baseline) * 1e9) if baseline else end - start
    if not length:
        raise typer.BadParameter("--baseline has no length")
    other = LogFilter()
    other.CopyFrom(looked_at)
    other.start_time_unix_nano, other.end_time_unix_nano = max(0, start - length), start
    return looked_at, other


def _against(selecting: Selecting, against: list[str]) -> tuple["LogFilter", "LogFilter"]:
    """Two selections of the same time: the one that is looked at, and one with --against in place of what it says of the same keys."""
    now = dt.datetime.now(dt.UTC)
    keys = set(map(key_of, against))
    kept = [condition for condition in selecting.where or () if key_of(condition) not in keys]
    replaced: dict[str, Any] = dict.fromkeys(keys.intersection(OPTIONS_OF_KEYS))
    return selecting.filter(now), dataclasses.replace(selecting, where=[*kept, *against], **replaced).filter(now)


def _as_json(found: Any, looked_at: "LogFilter", baseline: "LogFilter") -> dict[str, Any]:
    return {
        "window": _side(looked_at, found.total_count),
        "baseline": _side(baseline, found.baseline_total_count),
        "differences": [_difference_json(each) for each in found.differences],
        "difference_count": found.difference_count,
        "new": found.new_count,
        "gone": found.gone_count,
        "more": found.more_count,
        "less": found.less_count,
    }


def _side(chosen: "LogFilter", count: int) -> dict[str, Any]:
    """When a selection begins and ends, and how many records it has; no time where it is not bounded."""
    return {"since": rfc3339(chosen.start_time_unix_nano), "until": rfc3339(chosen.end_time_unix_nano), "count": count}


def _difference_json(each: Any) -> dict[str, Any]:

    pattern = each.pattern
    return {
        "change": _CHANGES[each.change],
        "count": pattern.count,
        "baseline_count": each.baseline_count,
        "log_likelihood_ratio": round(each.log_likelihood_ratio, 2),
        "pattern_id": str(pattern.pattern_id),
        "service": pattern.service,
        "services": list(pattern.services) or [pattern.service],
        "pattern": pattern.text,
        "example": pattern.example,
        "first_time": rfc3339(pattern.first_time_unix_nano),
        "last_time": rfc3339(pattern.last_time_unix_nano),
        "baseline_last_time": rfc3339(each.baseline_last_time_unix_nano),
        "count_by_severity": {severity_name(number): count for number, count in sorted(pattern.count_by_severity.items())},
    }


def _show(found: Any) -> None:
    note(f"{found.total_count:,} records, compared with {found.baseline_total_count:,}: {_summary(found)}")
    if not found.differences:
        return
    rows = []
    for each in found.differences:
        share, other = _share(each.pattern.count, found.total_count), _share(each.baseline_count, found.baseline_total_count)
        services = ", ".join(each.pattern.services) or each.pattern.service
        change, count, before = _CHANGES[each.change], f"{each.pattern.count:,}", f"{each.baseline_count:,}"
        rows.append([change, count, before, _percent(share), _percent(other), _bars(share, other), services, each.pattern.text])
    answer_table(["change", "records", "before", "share", "before", "", "service", "pattern"], rows, right=[1, 2, 3, 4], optional=[5])
    if found.difference_count > len(found.differences):
        note(f"treering: the {len(found.differences):,} most telling of {found.difference_count:,}; more with --limit")


def _summary(found: Any) -> str:
    counts = ((found.new_count, "new"), (found.gone_count, "gone"), (found.more_count, "more"), (found.less_count, "less"))
    return ", ".join(f"{count:,} {name}" for count, name in counts if count) or "no difference beyond chance"


def _share(count: int, total: int) -> float:
    return count / total if total else 0.0


def _percent(share: float) -> str:
    return f"{share:.2%}" if share >= 0.0001 or not share else "<0.01%"


def _bars(share: float, other: float) -> str:
    """How the pattern's two shares divide: all of the bar is the window's when nothing was there before."""
    from treering_cli.chart import bar  # noqa: PLC0415 - start-up

    return bar(share, share + other, width=10)
