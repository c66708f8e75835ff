"""Options that select records, shared by every command that looks at some."""

import datetime as dt
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from treering.times import time_nanos
from treering_cli.problems import at_place

if TYPE_CHECKING:
    from treering.v1.log_pb2 import LogFilter

_DURATION = re.compile(r"(?:now-)?(\d{1,9})(ms|s|m|h|d|w)")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_PANEL = "Which records"
OPTIONS_OF_KEYS = ("service", "environment")
"""Keys of --where that are options of the same names as well; beside these their values are alternatives."""


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
        _option(
            "--where",
            metavar="CONDITION",
            help="Only records for which this holds: status=200, status!=200, 'duration_ms>=500', path (is there), '!path' (is not), "
            "'path^=/api' (begins with), 'path*=api' (contains), 'path~=^/v[12]' (matches), !^= !*= !~= (does not), 'severity>=error', "
            "service=, message*=; may be repeated: all of them, of several values for one key any.",
        ),
    ] = None
    any: Annotated[
        list[str] | None,
        _option("--any", metavar="CONDITION", help="Only records for which at least one --any holds; as --where."),
    ] = None
    contains: Annotated[
        list[str] | None,
        _option("--contains", help="Only messages with this text, upper and lower case alike; may be repeated: all of them."),
    ] = None
    not_contains: Annotated[
        list[str] | None, _option("--not-contains", help="Only messages without this text; may be repeated: none of them.")
    ] = None
    phrase: Annotated[
        list[str] | None,
        _option("--phrase", help="Only messages with these words, one after the other, whatever stands between them; may be repeated."),
    ] = None
    not_phrase: Annotated[list[str] | None, _option("--not-phrase", help="Only messages without these words; may be repeated.")] = None
    matches: Annotated[
        list[str] | None,
        _option(
            "--matches",
            metavar="RE2",
            help="Only messages with a part that matches this expression; (?-i) tells cases apart; may be repeated.",
        ),
    ] = None
    not_matches: Annotated[
        list[str] | None, _option("--not-matches", metavar="RE2", help="Only messages without such a part; may be repeated.")
    ] = None
    about: Annotated[str, _option("--about", metavar="TEXT", help="Only records that are about this, in any words.")] = ""
    trace_id: Annotated[str, _option("--trace-id", help="Only this trace: 32 hex digits.")] = ""

    def filter(self, now: dt.datetime | None = None) -> "LogFilter":
        """The filter of the options; durations are counted back from `now`.

        Raises:
            typer.BadParameter: An option has a value that is none.
        """
        from treering.conditions import ConditionError  # noqa: PLC0415 - start-up
        from treering.selection import any_of, log_filter  # noqa: PLC0415 - start-up

        now = now or dt.datetime.now(dt.UTC)
        try:
            selected = log_filter(
                since=time_of("--since", self.since, now) if self.since else None,
                until=time_of("--until", self.until, now) if self.until else None,
                min_severity=self.min_severity or None,
                services=self.service or (),
                environments=self.environment or (),
                where=self.where,
                contains=self.contains or (),
                not_contains=self.not_contains or (),
                phrase=self.phrase or (),
                not_phrase=self.not_phrase or (),
                matches=self.matches or (),
                not_matches=self.not_matches or (),
                trace_id=self.trace_id,
                about=self.about,
            )
            if self.any:
                selected.all_of.append(any_of(*(log_filter(where=[condition]) for condition in self.any)))
        except ConditionError as error:
            raise typer.BadParameter(at_place(error.text, error.position, error.problem)) from None
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        return selected


def key_of(condition: str) -> str:
    """The key that a condition is about.

    Raises:
        typer.BadParameter: It is no condition.
    """
    from treering.conditions import ConditionError, parse_condition  # noqa: PLC0415 - start-up

    try:
        return parse_condition(condition).key
    except ConditionError as error:
        raise typer.BadParameter(at_place(error.text, error.position, error.problem)) from None
