"""`treering store`: looks at the sealed store, through its service or in a directory that no service uses."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from treering_cli.connection import Connection
from treering_cli.escaping import escape
from treering_cli.ids import id_of
from treering_cli.inner import Inner
from treering_cli.instance import DEFAULT_DATA_DIR
from treering_cli.option_groups import with_groups
from treering_cli.output import answer, answer_json, note, rfc3339
from treering_cli.problems import REFUSED
from treering_cli.programs import answers

if TYPE_CHECKING:
    from treering.admin import AdminClient
    from treering.v1.admin_pb2 import VerifyStoreResponse

store = typer.Typer(
    help="Look at the sealed store; only `skip` and `accept-clock` change a file.", no_args_is_help=True, rich_markup_mode=None
)


@dataclass(frozen=True)
class ReportedProblem:
    """Something that is not as it should be."""

    file: str
    problem: str
    is_damage: bool


@dataclass
class StoreReport:
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
    report, problems = StoreReport(), []
    steps = _at_rest(directory) if directory else _served(inner.admin(connection))
    for found in _followed(steps, report):
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
    log_id: Annotated[str, typer.Argument(help="The log, as the sink's error names it.")],
    first_offset: Annotated[int, typer.Argument(min=0, help="The first record that is missing: where the sink stands.")],
    end_offset: Annotated[int, typer.Argument(min=1, help="One past the last record that is missing: where the log begins.")],
    *,
    json: Annotated[bool, typer.Option("--json", help="Answer with JSON.")] = False,
) -> None:
    """Let a sink go on without records that its log has lost, for good. From then on status, verify and answers name the hole.

    A sink refuses to jump over a gap by itself, and names this command with its arguments. A running service needs no restart.
    """
    [hole] = answers("runtime", "commands.skip", "--", directory, id_of("LOG_ID", log_id), first_offset, end_offset)
    if json:
        answer_json(hole)
        return
    where = f"log {hole['log_id']}: offsets {hole['first_offset']} to {hole['end_offset']}"
    answer(f"{where} are a hole, {hole['record_count']:,} records; delivery goes on")


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
    [order] = answers("query", "commands.accept_clock", "--", directory)
    time = rfc3339(order["time_unix_nano"])
    if json:
        answer_json({"directory": order["directory"], "time": time})
        return
    answer(f"{time} is right; deletion by age goes on at the next turn of upkeep, see `treering status`")


def _served(admin: "AdminClient") -> "Iterator[VerifyStoreResponse]":
    """The messages of the running service."""
    with admin:
        yield from admin.verify_store()


def _at_rest(directory: Path) -> "Iterator[VerifyStoreResponse]":
    """The same of a directory that no service uses."""
    from google.protobuf.json_format import ParseDict  # noqa: PLC0415 - start-up

    from treering.v1.admin_pb2 import VerifyStoreResponse  # noqa: PLC0415

    return (ParseDict(step, VerifyStoreResponse()) for step in answers("query", "commands.store_verify", "--", directory))


def _followed(steps: "Iterable[VerifyStoreResponse]", report: StoreReport) -> Iterator[ReportedProblem]:
    """The problems that a check finds; keeps the report up to date."""
    for step in steps:
        report.segment_count = step.segment_count
        report.record_count, report.size_bytes, report.complete = step.checked_record_count, step.checked_bytes, step.complete
        yield from (ReportedProblem(each.file, each.problem, each.is_damage) for each in step.problems)
        report.holes = [_hole_in_words(each.log_id, each.first_offset, each.end_offset_exclusive) for each in step.holes]
        _show_progress(report.progress(step.checked_segment_count))


def _hole_in_words(log_id: int, first: int, end: int) -> str:
    return f"log {log_id}, offsets {first} to {end - 1}: {end - first:,} records"


def _conclude(report: StoreReport, problems: list[ReportedProblem]) -> None:
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
