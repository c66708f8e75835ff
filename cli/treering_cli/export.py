"""`treering export`: every record of a selection into one file."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import typer

from treering_cli import near_keys
from treering_cli.connection import Connection
from treering_cli.costs import Costs, cost_json
from treering_cli.output import answer_json, note
from treering_cli.problems import Refusal
from treering_cli.selecting import Selecting
from treering_cli.spreadsheet import ForSpreadsheet, check_form

_SUFFIXES = {"parquet": "parquet", "csv": "csv", "jsonl": "jsonl"}


def export(
    *,
    selecting: Selecting,
    connection: Connection,
    costs: Costs,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Directory of the file; made when it is not there.")],
    format: Annotated[Literal["parquet", "csv", "jsonl"], typer.Option(help="Form of the file.")] = "parquet",  # noqa: A002 - the option's name
    for_spreadsheet: ForSpreadsheet = False,
    json: Annotated[bool, typer.Option("--json", help="Answer with JSON.")] = False,
) -> None:
    """Write every record of a selection into DIR/logs.FORMAT, which appears when it is complete, and which only you may read."""
    check_form(format, for_spreadsheet=for_spreadsheet)
    chosen = selecting.filter()
    file = out / f"logs.{_SUFFIXES[format]}"
    with _writing(out), _appearing(file) as partial, connection.client() as client:
        form = "spreadsheet" if for_spreadsheet else format
        summary = _receive(client.export_logs(filter=chosen), partial, form)
        if not summary.row_count:
            near_keys.hint(client, chosen)
    if json:
        size = file.stat().st_size
        answer_json({"file": str(file), "records": summary.row_count, "size_bytes": size, "cost": cost_json(summary.cost)})
    else:
        note(f"{summary.row_count:,} records in {file} ({file.stat().st_size:,} bytes)")
    costs.show(summary.cost, json=json)


@contextlib.contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Makes the directory; what the system has against it, or against writing there, is said in words."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        problem = error.strerror or str(error)
        raise Refusal(
            f"{error.filename or out}: {problem}; nothing was kept; give a directory with room that you may write: --out"
        ) from error


@contextlib.contextmanager
def _appearing(file: Path) -> Iterator[BinaryIO]:
    """A private file to write what becomes `file` at the end, and goes away if there is no good end."""
    partial = file.with_name(file.name + ".partial")
    partial.unlink(missing_ok=True)
    try:
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as out:  # noqa: PTH123 - a descriptor
            yield out
        partial.replace(file)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


class _Parts:
    """The bytes of a stream of parts as a file, and the summary at its end."""

    def __init__(self, parts: Iterator[Any]) -> None:
        self._parts = parts
        self._buffer = b""
        self.summary: Any = None
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        pieces = [self._buffer]
        length = len(self._buffer)
        while size < 0 or length < size:
            part = next(self._parts, None)
            if part is None:
                break
            if part.HasField("summary"):
                self.summary = part.summary
            pieces.append(part.arrow_ipc)
            length += len(part.arrow_ipc)
        whole = b"".join(pieces)
        end = len(whole) if size < 0 else size
        self._buffer = whole[end:]
        return whole[:end]


def _receive(parts: Iterator[Any], partial: BinaryIO, form: str) -> Any:
    """Writes all records; returns the summary.

    Raises:
        Refusal: The stream ended before it was complete.
    """
    import pyarrow as pa  # noqa: PLC0415 - start-up

    source = _Parts(parts)
    rows = 0
    with pa.ipc.open_stream(pa.PythonFile(source, mode="r")) as reader, _writer(partial, form, reader.schema) as write:
        for batch in reader:
            write(pa.Table.from_batches([batch]))
            rows += batch.num_rows
            _progress(rows)
    source.read()
    if source.summary is None or source.summary.row_count != rows:
        raise Refusal("the export ended before it was complete: nothing was kept of it; ask again")
    return source.summary


def _progress(rows: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{rows:,} records ")
        sys.stderr.flush()


@contextlib.contextmanager
def _writer(file: BinaryIO, form: str, schema: Any) -> Iterator[Callable[[Any], None]]:
    if form == "parquet":
        import pyarrow.parquet as pq  # noqa: PLC0415 - start-up

        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            yield writer.write_table
        return
    yield _json_lines(file) if form == "jsonl" else _csv(file, for_spreadsheet=form == "spreadsheet")


def _csv(file: BinaryIO, *, for_spreadsheet: bool) -> Callable[[Any], None]:
    from treering_cli.sql_values import csv_bytes  # noqa: PLC0415 - start-up

    def write(table: Any) -> None:
        file.write(csv_bytes(table, with_header=not file.tell(), for_spreadsheet=for_spreadsheet))

    return write


def _json_lines(file: BinaryIO) -> Callable[[Any], None]:
    from treering_cli.sql_values import json_line_bytes  # noqa: PLC0415 - start-up

    def write(table: Any) -> None:
        file.write(json_line_bytes(table))

    return write
