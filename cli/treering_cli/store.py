"""`treering store`: looks at the sealed store, through its service or in a directory that no service uses."""

import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from treering_cli.connection import Connection
from treering_cli.escaping import escape
from treering_cli.inner import Inner
from treering_cli.instance import DEFAULT_DATA_DIR
from treering_cli.option_groups import with_groups
from treering_cli.output import answer, answer_json, note, rfc3339
from treering_cli.problems import REFUSED, Refusal

if TYPE_CHECKING:
    from treering.admin import AdminClient

store = typer.Typer(
    help="Look at the sealed store; only `skip` and `accept-clock` change a file.", no_args_is_help=True, rich_markup_mode=None
)


@dataclass(frozen=True)
class Problem:
    """Something that is not as it should be."""

    file: str
    problem: str
    is_damage: bool


@dataclass
class Report:
    """What was checked and what was found."""

    segment_count: int = 0
    record_count: int = 0
    size_bytes: int = 0
    complete: bool = False
    """False when the check ended before everything was read."""
    holes: list[str] = field(default_factory=list)
    """What the store does without for good, because an operator decided so."""

    def progress(self, checked: int) -> str:
        """How far the check is, in words."""
        return f"{checked:,} of {self.segment_count:,} segments, {self.record_count:,} records"


def verify(
    *,
    directory: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="A store that no service uses: <data>/query, or one above it, or a copy.")
    ] = None,
    connection: Connection,
    inner: Inner,
    json: Annotated[bool, typer.Option("--json", help="Answer with JSON.")] = False,
) -> None:
    """Read every sealed segment and compare it with what was sealed. Exit code 1 when something is wrong.

    Asks the running query service; with DIR the files are read here, and no service may run on them.
    """
    report, problems = Report(), []
    steps = _at_rest(directory, report) if directory else _served(inner.admin(connection), report)
    for found in steps:
        if not json:
            _clear()
            answer(f"  {'DAMAGED ' if found.is_damage else 'left over'}  {escape(found.file)}: {escape(found.problem)}")
        problems.append(found)
    _clear()
    if json:
        answer_json({"ok": not problems, **asdict(report), "problems": [asdict(each) for each in problems]})
    else:
        _conclude(report, problems)
    if problems or not report.complete:
        raise typer.Exit(REFUSED)


store.command("verify")(with_groups(verify))


@store.command("skip")
def skip(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The data directory of the sink: <data>/query or <data>/embed.")],
    log_id: Annotated[str, typer.Argument(help="The log, 16 hexadecimal digits, as the sink's error names it.")],
    first_offset: Annotated[int, typer.Argument(min=0, help="The first record that is missing: where the sink stands.")],
    end_offset: Annotated[int, typer.Argument(min=1, help="One past the last record that is missing: where the log begins.")],
    *,
    json: Annotated[bool, typer.Option("--json", help="Answer with JSON.")] = False,
) -> None:
    """Let a sink go on without records that its log has lost, for good. From then on status, verify and answers name the hole.

    A sink refuses to jump over a gap by itself, and names this command with its arguments. A running service needs no restart.
    """
    try:
        from treering_runtime.errors import StartError  # noqa: PLC0415 - only where a service is installed
        from treering_runtime.holes import Hole, add_hole  # noqa: PLC0415
    except ImportError as missing:
        raise Refusal(f'{missing.name} is not installed here: pip install "treering[query]"') from missing
    if not _is_log_id(log_id):
        raise Refusal(f"invalid log id '{escape(log_id)}'; use the 16 hexadecimal digits that the sink's error names")
    if end_offset <= first_offset:
        raise Refusal(f"END_OFFSET {end_offset} must be above FIRST_OFFSET {first_offset}; both are in the sink's error")
    if not any((directory / file).is_file() for file in _SINK_FILES):
        raise Refusal(f"{directory} is no data directory of query or embed; name <data>/query or <data>/embed")
    try:
        add_hole(directory, Hole(int(log_id, 16), first_offset, end_offset))
    except StartError as error:
        raise Refusal(str(error)) from error
    except OSError as error:
        raise Refusal(f"{error.filename}: {error.strerror}; run this as the user that the service runs as") from error
    if json:
        hole = {"log_id": log_id, "first_offset": first_offset, "end_offset": end_offset, "record_count": end_offset - first_offset}
        answer_json(hole)
        return
    answer(f"log {log_id}: offsets {first_offset} to {end_offset} are a hole, {end_offset - first_offset:,} records; delivery goes on")


@store.command("accept-clock")
def accept_clock(
    directory: Annotated[
        Path, typer.Argument(metavar="[DIR]", envvar="TREERING_DATA_DIR", help="The data directory, or query's own: <data>/query.")
    ] = DEFAULT_DATA_DIR,
    *,
    json: Annotated[bool, typer.Option("--json", help="Answer with JSON.")] = False,
) -> None:
    """Say that the clock of this machine is right, so that deletion by age goes on after a leap.

    Set the clock right first: from then on ages count against the time it shows, and what is too old by it is deleted. It also ends a lag
    of the retention clock after the service stood still. A running service needs no restart.
    """
    try:
        from treering_query.limits import MAX_TIME_UNIX_NANO  # noqa: PLC0415 - only where query is installed
        from treering_query.store.clock_order import write_clock_order  # noqa: PLC0415
        from treering_query.store.inventory import CATALOG_FILE  # noqa: PLC0415
    except ImportError as missing:
        raise Refusal(f'{missing.name} is not installed here: pip install "treering[query]"') from missing
    found = next(
        (path for path in (directory, directory / "query", directory / "query" / "query") if (path / CATALOG_FILE).is_file()), None
    )
    if not found:
        raise Refusal(f"{directory} holds no store; give the data directory of `treering up`, or query's own: <data>/query")
    if not 0 < (now := time.time_ns()) <= MAX_TIME_UNIX_NANO:
        raise Refusal("the clock of this machine shows a time before 1970 or after 2262-04-11, which no record can have; set it right")
    try:
        order = write_clock_order(found, now)
    except OSError as error:
        raise Refusal(f"{error.filename}: {error.strerror}; run this as the user that the service runs as") from error
    if json:
        answer_json({"directory": str(found), "time": rfc3339(order.time_unix_nano)})
        return
    answer(f"{rfc3339(order.time_unix_nano)} is right; deletion by age goes on at the next turn of upkeep, see `treering status`")


_SINK_FILES = ("logs.duckdb", "registry.sqlite")


def _is_log_id(text: str) -> bool:
    return len(text) == 16 and all(digit in "0123456789abcdef" for digit in text)


def _served(admin: "AdminClient", report: Report) -> Iterator[Problem]:
    """The problems that the service finds; keeps the report up to date."""
    with admin:
        for step in admin.verify_store():
            report.segment_count = step.segment_count
            report.record_count, report.size_bytes, report.complete = step.checked_record_count, step.checked_bytes, step.complete
            yield from (Problem(each.file, each.problem, each.is_damage) for each in step.problems)
            report.holes = [_hole_in_words(each.log_id, each.first_offset, each.end_offset_exclusive) for each in step.holes]
            _show_progress(report.progress(step.checked_segment_count))


def _hole_in_words(log_id: int, first: int, end: int) -> str:
    return f"log {log_id:016x}, offsets {first} to {end - 1}: {end - first:,} records"


def _at_rest(given: Path, report: Report) -> Iterator[Problem]:
    """The problems in a directory."""
    try:
        from treering_query.store.check import check  # noqa: PLC0415 - only where query is installed
        from treering_query.store.inventory import CATALOG_FILE, inventory_at_rest  # noqa: PLC0415
        from treering_runtime.errors import StartError  # noqa: PLC0415
        from treering_runtime.holes import Holes, joined  # noqa: PLC0415
    except ImportError as missing:
        raise Refusal(f'{missing.name} is not installed here, which reads the store: pip install "treering[query]"') from missing
    directory = next((path for path in (given, given / "query") if (path / CATALOG_FILE).exists()), given)
    try:
        inventory = inventory_at_rest(directory)
        report.holes = [_hole_in_words(*hole) for hole in joined(Holes(directory).gone_behind)]
        report.segment_count = len(inventory.sealed.segments)
        for step in check(inventory):
            report.record_count, report.size_bytes = step.records, step.size_bytes
            yield from (Problem(each.file, each.problem, each.is_damage) for each in step.problems)
            _show_progress(report.progress(step.segments))
    except StartError as error:
        raise Refusal(str(error)) from error
    except OSError as error:
        raise Refusal(f"{error.filename}: {error.strerror}; read it as the user that query runs as") from error
    report.complete = True


def _conclude(report: Report, problems: list[Problem]) -> None:
    answer(f"{report.segment_count:,} segments, {report.record_count:,} records, {report.size_bytes:,} bytes checked")
    for hole in report.holes:
        answer(f"  note      {escape(hole)} are missing for good: an operator let the store go on without them (treering store skip)")
    damaged = sum(each.is_damage for each in problems)
    if damaged:
        answer(f"{damaged:,} {'thing is' if damaged == 1 else 'things are'} damaged; questions that do not reach into it are answered")
    elif problems:
        answer("no record is damaged; the next start of the service puts the rest right")
    elif report.complete:
        answer("nothing is wrong")
    if not report.complete:
        note("treering: the check ended before everything was read; ask again")


def _show_progress(words: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{words} ")
        sys.stderr.flush()


def _clear() -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
