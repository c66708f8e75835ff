"""`treering send --dry-run`: how the first lines of files are read, and nothing is sent."""

from typing import TYPE_CHECKING

from treering.severity import severity_name
from treering_cli.inputs import Input
from treering_cli.output import answer_json, answer_table, note, rfc3339
from treering_cli.reading import ReaderFactory
from treering_cli.records_json import fields_json
from treering_formats.reader import QUIET

if TYPE_CHECKING:
    from treering.v1.log_pb2 import LogRecord

SHOWN = 20
"""So many records of each input are shown."""

_COLUMNS = ("line", "time", "level", "service", "message", "fields", "format")
_WIDEST = 160


def show(inputs: list[Input], reading: ReaderFactory, *, json: bool) -> None:
    """Writes a table for each input, or a list of objects."""
    for source in inputs:
        records = list(_first(source, reading))
        if json:
            answer_json([{"line": number, **fields_json(record), "format": form} for number, record, form in records])
            continue
        note(
            f"treering: {source.name}: the first {len(records)} records; nothing is sent" if records else f"treering: {source.name}: empty"
        )
        answer_table(_COLUMNS, [_row(*each) for each in records], right=(0,), optional=(0, 6))


def _first(source: Input, reading: ReaderFactory) -> "list[tuple[int, LogRecord, str]]":
    records: list[tuple[int, LogRecord, str]] = []
    with source.open() as text:
        reader = reading.reader(text, source.name)
        for number, record in reader:
            given = reader.flush() if number == QUIET else [(number, record)]
            records += [(place, each, reader.form) for place, each in given]
            if len(records) >= SHOWN:
                break
    return records[:SHOWN]


def _row(number: int, record: "LogRecord", form: str) -> list[str]:
    origin = "/".join(part for part in (record.environment, record.service) if part)
    fields = " ".join(f"{key}={value}" for key, value in sorted(record.attributes.items()))
    level = severity_name(record.severity) if record.severity else ""
    time = rfc3339(record.time_unix_nano) or "(arrival)"
    return [str(number), time, level, origin, _short(record.message), _short(fields), form]


def _short(text: str) -> str:
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"
