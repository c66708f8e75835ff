"""`treering store`: looks at the sealed store, through its service or in a directory that no service uses."""

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from treering.cli.connection import Connection
from treering.cli.escaping import escape
from treering.cli.inner import Inner
from treering.cli.option_groups import with_groups
from treering.cli.output import answer, answer_json, note
from treering.cli.problems import REFUSED, Refusal

if TYPE_CHECKING:
    from treering.admin import AdminClient

store = typer.Typer(help="Look at the sealed store; `skip` alone changes a file.", no_args_is_help=True, rich_markup_mode=None)


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
    """Let a sink go on without records that its log has lost, for good. The hole is kept and counted in the status.

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
            _show_progress(report.progress(step.checked_segment_count))


def _at_rest(given: Path, report: Report) -> Iterator[Problem]:
    """The problems in a directory."""
    try:
        from treering_query.store.check import check  # noqa: PLC0415 - only where query is installed
        from treering_query.store.inventory import CATALOG_FILE, inventory_at_rest  # noqa: PLC0415
        from treering_runtime.errors import StartError  # noqa: PLC0415
    except ImportError as missing:
        raise Refusal(f'{missing.name} is not installed here, which reads the store: pip install "treering[query]"') from missing
    directory = next((path for path in (given, given / "query") if (path / CATALOG_FILE).exists()), given)
    try:
        inventory = inventory_at_rest(directory)
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
