"""A stream of lines as a stream of records."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

from treering.v1.log_pb2 import LogRecord
from treering_formats.fields import Defaults, to_record
from treering_formats.json_line import json_fields
from treering_formats.old_form import old_fields
from treering_formats.reader import Format, LineReader, Stream
from treering_formats.text_line import continues, text_record

_MAX_JOINED_CHARACTERS = 256 * 1024
"""Continuation lines join a record up to this length in characters: it stays under the largest record in any script."""


class RecordReader:
    """Iterates over the records of a stream, each with the number of its first line.

    In `auto` a stream whose first line is a JSON object is `jsonl`, any other is `text` in which single JSON lines are recognised.

    Attributes:
        unparsed: Lines of JSON lines that are no JSON object, and were kept as plain messages.
        blank: Lines without anything in them, which make no record.
    """

    def __init__(self, stream: Stream, *, service: str, environment: str, fmt: Format, now: dt.datetime, zone: dt.tzinfo = dt.UTC) -> None:
        self._lines = LineReader(stream)
        self._defaults = Defaults(service, environment, now, zone)
        self._format = fmt
        self.unparsed = 0
        self.blank = 0

    @property
    def replaced(self) -> int:
        """Lines that were not valid UTF-8."""
        return self._lines.replaced

    @property
    def lines(self) -> int:
        """Lines read so far."""
        return self._lines.lines

    @property
    def bytes_read(self) -> int:
        """Bytes read so far."""
        return self._lines.bytes_read

    def __iter__(self) -> Iterator[tuple[int, LogRecord]]:
        lines = self._filled()
        first = next(lines, None)
        if first is None:
            return
        # one look decides for the whole stream: a JSON line among text stays possible, a text line among JSON is counted as unparsed
        if self._format == "auto":
            self._format = "jsonl" if json_fields(first[1].strip()) is not None else "text"
            recognise = True
        else:
            recognise = self._format == "jsonl"
        chained = _chain(first, lines)
        yield from self._json(chained) if self._format == "jsonl" else self._text(chained, recognise_json=recognise)

    def _filled(self) -> Iterator[tuple[int, str]]:
        for number, line in self._lines:
            if line.strip():
                yield number, line
            else:
                self.blank += 1

    def _json(self, lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, LogRecord]]:
        for number, line in lines:
            fields = json_fields(line.strip())
            if fields is None:
                self.unparsed += 1
                yield number, self._plain(line)
            else:
                yield number, to_record(fields, line.strip(), self._defaults)

    def _text(self, lines: Iterator[tuple[int, str]], *, recognise_json: bool) -> Iterator[tuple[int, LogRecord]]:
        """Holds each text record back until the next line shows that it is complete."""
        start, held, last = 0, "", ""
        for number, line in lines:
            # joined up to a bound: a file of indented lines alone must not become one record
            if held and len(held) + len(line) < _MAX_JOINED_CHARACTERS and continues(line, held, last):
                held, last = f"{held}\n{line}", line
                continue
            if held:
                yield start, text_record(held, self._defaults)
                held = ""
            structured = self._structured(line, recognise_json=recognise_json)
            if structured is not None:
                yield number, to_record(structured, line, self._defaults)
            else:
                start, held, last = number, line, line
        if held:
            yield start, text_record(held, self._defaults)

    def _structured(self, line: str, *, recognise_json: bool) -> dict[str, Any] | None:
        if recognise_json and line.startswith("{"):
            return json_fields(line)
        return old_fields(line)

    def _plain(self, line: str) -> LogRecord:
        return LogRecord(service=self._defaults.service, environment=self._defaults.environment, message=line)


def _chain(first: tuple[int, str], rest: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    yield first
    yield from rest
