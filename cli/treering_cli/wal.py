"""`treering wal`: a look at a log's directory. It only reads: a running log, a stopped one, or a copy after a crash.

`treering_ingest.commands.wal` reads; here its answers are shown.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from treering.severity import severity_name
from treering_cli.escaping import escape, to_json
from treering_cli.output import answer, answer_json, answer_table, note, rfc3339
from treering_cli.problems import REFUSED
from treering_cli.programs import answers

wal = typer.Typer(help="Look at the write-ahead log in a directory. Nothing is ever changed.", no_args_is_help=True, rich_markup_mode=None)

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The log's directory: <data>/ingest/wal, or one above it.")]
Json = Annotated[bool, typer.Option("--json", help="Answer with JSON.")]


@wal.command("inspect")
def inspect(directory: Directory, *, json: Json = False) -> None:
    """Show the segments. Of complete ones only the header and the footer are read."""
    [report] = _answers("inspect", "--", directory)
    _show(report, json=json)


@wal.command("verify")
def verify(directory: Directory, *, json: Json = False) -> None:
    """Read and check every byte. Exit code 1 when something that was durable is damaged or missing."""
    [report] = _answers("verify", "--", directory)
    _show(report, json=json)
    if not report["is_sound"]:
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
    for found in _answers("cat", f"--from={start_offset}", f"--limit={limit}", "--", directory):
        if "first_missing_offset" in found:
            first, last = found["first_missing_offset"], found["end_missing_offset"] - 1
            note(f"treering: offsets {first} to {last} are not here: the running log deleted them before they could be read")
        else:
            answer(to_json(_record(found)))


def _answers(*arguments: str | Path) -> Iterator[Any]:
    return answers("ingest", "commands.wal", *arguments)


def _record(found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "offset": found["offset"],
        "arrival_time": rfc3339(found["arrival_time_unix_nano"]),
        "producer_id": found["producer_id"],
        "sequence": found["sequence"],
        "time": rfc3339(found["time_unix_nano"]),
        "severity": severity_name(found["severity"]),
        **{name: found[name] for name in ("service", "environment", "message", "attributes", "resource", "trace_id", "span_id")},
    }


def _show(report: Mapping[str, Any], *, json: bool) -> None:
    if json:
        answer_json(_as_json(report))
        return
    start, end, problems = report["start_offset"], report["end_offset"], report["problems"]
    answer(escape(f"log {report['log_id']}  {report['path']}  offsets {start} to {end}, {end - start:,} records"))
    columns = ("segment", "first offset", "end offset", "frames", "bytes", "begun", "sealed")
    answer_table(columns, map(_row, report["segments"]), right=range(1, 5))
    for problem in problems:
        answer(escape(f"{_kind(problem)}: {problem['file']}, byte {problem['position']}: {problem['problem']}"))
    if not problems:
        answer("nothing is wrong")
    if not report["is_sound"]:
        note("treering: restore what is damaged from a copy, or move the directory away; `treering wal cat` prints what can be read")


def _kind(problem: Mapping[str, Any]) -> str:
    torn = "torn (the end of a write that was interrupted or goes on; nothing of it was acknowledged)"
    return "damaged" if problem["is_damage"] else torn


def _row(segment: Mapping[str, Any]) -> tuple[str, ...]:
    counts = (segment[name] for name in ("first_offset", "end_offset", "frame_count", "size_bytes"))
    return (segment["file"], *map(str, counts), rfc3339(segment["created_unix_nano"]), rfc3339(segment["sealed_unix_nano"]) or "no")


def _as_json(report: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "path": report["path"],
        "log_id": str(report["log_id"]),
        **{name: report[name] for name in ("is_sound", "start_offset", "end_offset")},
        "segments": [
            {
                **{name: segment[name] for name in ("file", "first_offset", "end_offset", "frame_count", "size_bytes")},
                "created_time": rfc3339(segment["created_unix_nano"]),
                "sealed_time": rfc3339(segment["sealed_unix_nano"]),
            }
            for segment in report["segments"]
        ],
        "problems": report["problems"],
    }
