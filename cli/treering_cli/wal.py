"""`treering wal`: a look at a log's directory. It only reads: a running log, a stopped one, or a copy after a crash."""

import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from treering_cli.escaping import escape, to_json
from treering_cli.output import answer, answer_json, answer_table, note, rfc3339
from treering_cli.problems import REFUSED, Refusal

if TYPE_CHECKING:
    from treering_ingest.wal.frame import Frame
    from treering_ingest.wal.inspect import LogReport, Problem, SegmentReport

wal = typer.Typer(help="Look at the write-ahead log in a directory. Nothing is ever changed.", no_args_is_help=True, rich_markup_mode=None)

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The log's directory: <data>/ingest/wal, or one above it.")]
Json = Annotated[bool, typer.Option("--json", help="Answer with JSON.")]


@wal.command("inspect")
def inspect(directory: Directory, *, json: Json = False) -> None:
    """Show the segments. Of complete ones only the header and the footer are read."""
    from treering_ingest.wal.inspect import inspect as look  # noqa: PLC0415 - only where ingest is installed

    with _reading():
        _show(look(_log_directory(directory)), json=json)


@wal.command("verify")
def verify(directory: Directory, *, json: Json = False) -> None:
    """Read and check every byte. Exit code 1 when something that was durable is damaged or missing."""
    from treering_ingest.wal.inspect import verify as check  # noqa: PLC0415 - only where ingest is installed

    with _reading():
        report = check(_log_directory(directory))
    _show(report, json=json)
    if not report.is_sound:
        raise typer.Exit(REFUSED)


@wal.command("cat")
def cat(
    directory: Directory,
    *,
    start_offset: Annotated[int, typer.Option("--from", min=0, help="The first offset.")] = 0,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="At most so many records; 0 = all.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="The answer is JSON anyway.")] = False,
) -> None:
    """Print the records, a JSON object a line. Exit code 1 where the log is damaged; what is before that is printed."""
    del json
    from treering_ingest.wal.errors import CorruptLogError  # noqa: PLC0415 - only where ingest is installed
    from treering_ingest.wal.inspect import cat as frames  # noqa: PLC0415

    try:
        with _reading():
            read = _noting_gaps(frames(_log_directory(directory), start_offset))
            found = (record for frame in read for record in _records(frame, start_offset))
            for record in itertools.islice(found, limit or None):
                answer(to_json(record))
    except CorruptLogError as damage:
        raise Refusal(str(damage)) from damage


def _noting_gaps(frames: Iterable["Frame"]) -> Iterator["Frame"]:
    """The frames; says which offsets a running log has deleted before they could be read."""
    end: int | None = None
    for frame in frames:
        if end is not None and frame.first_offset > end:
            note(
                f"treering: offsets {end} to {frame.first_offset - 1} are not here: the running log deleted them before they could be read"
            )
        end = frame.end_offset
        yield frame


@wal.callback()
def _installed() -> None:
    try:
        import treering_ingest.wal.inspect  # noqa: F401, PLC0415
    except ImportError as missing:
        raise Refusal(
            f'the log is read by ingest, of which {missing.name} is not installed here: pip install "treering[ingest]"'
        ) from missing


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Refusal(f"{error.filename}: {error.strerror}; read it as the user that ingest runs as") from error


def _log_directory(given: Path) -> Path:
    """The directory itself, or the log below a data directory."""
    from treering_ingest.wal.manifest import MANIFEST  # noqa: PLC0415 - only where ingest is installed

    for path in (given, given / "wal", given / "ingest" / "wal"):
        if (path / MANIFEST).is_file() or any(path.glob("*.wal")):
            return path
    raise Refusal(f"{given} holds no log; give the directory that has a file {MANIFEST}: <data>/ingest/wal")


def _records(frame: "Frame", start_offset: int) -> list[dict[str, Any]]:
    from treering.severity import severity_name  # noqa: PLC0415 - start-up
    from treering.v1.ingest_pb2 import UploadLogsRequest  # noqa: PLC0415

    place = {
        "arrival_time": rfc3339(frame.arrival_time_unix_nano),
        "producer_id": frame.producer_id.decode(),
        "sequence": frame.sequence,
    }
    records = enumerate(UploadLogsRequest.FromString(frame.payload).records, frame.first_offset)
    return [
        {
            "offset": offset,
            **place,
            "time": rfc3339(record.time_unix_nano),
            "severity": severity_name(record.severity),
            "service": record.service,
            "environment": record.environment,
            "message": record.message,
            "attributes": dict(sorted(record.attributes.items())),
            "trace_id": record.trace_id.hex(),
            "span_id": record.span_id.hex(),
        }
        for offset, record in records
        if offset >= start_offset
    ]


def _show(report: "LogReport", *, json: bool) -> None:
    if json:
        answer_json(_as_json(report))
        return
    records = report.end_offset - report.start_offset
    answer(escape(f"log {report.log_id:016x}  {report.path}  offsets {report.start_offset} to {report.end_offset}, {records:,} records"))
    columns = ("segment", "first offset", "end offset", "frames", "bytes", "begun", "sealed")
    answer_table(columns, map(_row, report.segments), right=range(1, 5))
    for problem in report.problems:
        answer(escape(f"{_kind(problem)}: {problem.file}, byte {problem.position}: {problem.problem}"))
    if not report.problems:
        answer("nothing is wrong")
    if not report.is_sound:
        note("treering: restore what is damaged from a copy, or move the directory away; `treering wal cat` prints what can be read")


def _kind(problem: "Problem") -> str:
    return "damaged" if problem.is_damage else "torn (the end of a write that was interrupted or goes on; nothing of it was acknowledged)"


def _row(segment: "SegmentReport") -> tuple[str, ...]:
    counts = (segment.first_offset, segment.end_offset, segment.frame_count, segment.size_bytes)
    return (segment.file, *map(str, counts), rfc3339(segment.created_unix_nano), rfc3339(segment.sealed_unix_nano) or "no")


def _as_json(report: "LogReport") -> dict[str, Any]:
    return {
        "path": str(report.path),
        "log_id": f"{report.log_id:016x}",
        "is_sound": report.is_sound,
        "start_offset": report.start_offset,
        "end_offset": report.end_offset,
        "segments": [
            {
                "file": segment.file,
                "first_offset": segment.first_offset,
                "end_offset": segment.end_offset,
                "frame_count": segment.frame_count,
                "size_bytes": segment.size_bytes,
                "created_time": rfc3339(segment.created_unix_nano),
                "sealed_time": rfc3339(segment.sealed_unix_nano),
            }
            for segment in report.segments
        ],
        "problems": [
            {"file": problem.file, "position": problem.position, "problem": problem.problem, "is_damage": problem.is_damage}
            for problem in report.problems
        ],
    }
