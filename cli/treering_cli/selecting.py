"""Options that select records, shared by every command that looks at some."""

import datetime as dt
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from treering.times import time_nanos

if TYPE_CHECKING:
    from treering.v1.log_pb2 import LogFilter

_DURATION = re.compile(r"(?:now-)?(\d{1,9})(ms|s|m|h|d|w)")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_PANEL = "Which records"
NOT_ATTRIBUTES = ("service", "environment")
"""Keys of --where that are fields of every record; beside the options of the same names their values are alternatives."""


def duration_s(text: str) -> float:
    """Seconds of a duration such as 500ms, 30s, 15m, 2h, 7d or 1w.

    Raises:
        typer.BadParameter: It is none.
    """
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise typer.BadParameter(f"{text!r} is no duration; write 30s, 15m, 2h, 7d or 1w")
    return int(match[1]) * _SECONDS[match[2]]


def time_of(option: str, text: str, now: dt.datetime) -> int:
    """Nanoseconds since 1970 of a time, or of a duration before now, as an option has it.

    Raises:
        typer.BadParameter: It is neither, or not from 1970 to 2262.
    """
    from treering_formats.times import any_time  # noqa: PLC0415 - start-up

    if text.strip() == "now":
        return time_nanos(now)
    if _DURATION.fullmatch(text.strip()):
        return max(0, time_nanos(now) - round(duration_s(text) * 1e9))
    date_only = re.fullmatch(r"\d{4}-\d\d-\d\d", text.strip())
    nanos = any_time(f"{text.strip()}T00:00:00Z" if date_only else text)
    if nanos is None:
        raise typer.BadParameter(
            f"{option} {text!r} is no time from 1970-01-01 to 2262-04-11; write a duration back from now (15m, 2h, 7d) or RFC 3339 "
            "(2026-11-23T19:00:00Z)"
        )
    return nanos


def _option(*names: str, **more: Any) -> Any:
    return typer.Option(*names, rich_help_panel=_PANEL, **more)


@dataclass(frozen=True)
class Selecting:
    """Options that select records."""

    service: Annotated[list[str] | None, _option("--service", help="Only this service; may be repeated.")] = None
    environment: Annotated[list[str] | None, _option("--environment", help="Only this environment; may be repeated.")] = None
    min_severity: Annotated[str | None, _option("--min-severity", help="Only records at least this serious: info, warn, error, ...")] = None
    since: Annotated[str | None, _option("--since", help="Only from this time on: 15m, 2h, 7d back from now, or RFC 3339.")] = None
    until: Annotated[str | None, _option("--until", help="Only before this time: as --since.")] = None
    where: Annotated[
        list[str] | None,
        _option("--where", metavar="KEY=VALUE", help="Only records with this attribute, or service=, environment=; may be repeated."),
    ] = None
    contains: Annotated[str, _option("--contains", help="Only messages with this text, upper and lower case alike.")] = ""
    about: Annotated[str, _option("--about", metavar="TEXT", help="Only records that are about this, in any words.")] = ""
    trace_id: Annotated[str, _option("--trace-id", help="Only this trace: 32 hex digits.")] = ""

    def filter(self, now: dt.datetime | None = None) -> "LogFilter":
        """The filter of the options; durations are counted back from `now`.

        Raises:
            typer.BadParameter: An option has a value that is none.
        """
        from treering.selection import log_filter  # noqa: PLC0415 - start-up

        now = now or dt.datetime.now(dt.UTC)
        where = _values_by_key(self.where or ())
        named = {name: where.pop(name, []) for name in NOT_ATTRIBUTES}
        try:
            return log_filter(
                since=time_of("--since", self.since, now) if self.since else None,
                until=time_of("--until", self.until, now) if self.until else None,
                min_severity=self.min_severity or None,
                services=[*(self.service or ()), *named["service"]],
                environments=[*(self.environment or ()), *named["environment"]],
                where=where,
                contains=self.contains,
                trace_id=self.trace_id,
                about=self.about,
            )
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None


def _values_by_key(pairs: Any) -> dict[str, list[str]]:
    wanted: dict[str, list[str]] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not (key and separator):
            raise typer.BadParameter(f"--where {pair!r} is no KEY=VALUE")
        wanted.setdefault(key, []).append(value)
    return wanted
