"""A stream of lines as a stream of records."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

from treering.v1.log_pb2 import LogRecord
from treering_formats.fields import Defaults, to_record
from treering_formats.json_line import json_fields
from treering_formats.old_form import old_fields
from treering_formats.reader import QUIET, Format, LineReader, Stream
from treering_formats.text_line import continues, text_fields

_MAX_JOINED_CHARACTERS = 256 * 1024
"""Continuation lines join a record up to this length in characters: it stays under the largest record in any script."""


class RecordReader:
    """Iterates over the records of a stream, each with the number of its first line.

    A stream that has nothing yet gives `(QUIET, LogRecord())`: who follows it decides then when to take what is held back, by `flush`.

    In `auto` a stream whose first line is a JSON object is `jsonl`, any other is `text` in which single JSON lines are recognised.

    Attributes:
        unparsed: Lines of JSON lines that are no JSON object, and were kept as plain messages.
        blank: Lines without anything in them, which make no record.
        joined: Lines that joined the record before them.
        form: The name of the form that the record given last was written in; `plain` for a text without a time and a level.
        held_from: The number of the first line that is read and not yet given as a record; 0 when there is none.
    """

    def __init__(self, stream: Stream, *, service: str, environment: str, fmt: Format, now: dt.datetime) -> None:
        self._lines = LineReader(stream)
        self._defaults = Defaults(service, environment, now)
        self._format = fmt
        self.unparsed = 0
        self.blank = 0
        self.joined = 0
        self.form = ""
        self.held_from = 0
        self._held = self._last = ""

    @property
    def nul_bytes(self) -> int:
        """NUL bytes that were left out."""
        return self._lines.nul_bytes

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
        for first in lines:
            if first[0] == QUIET:
                yield QUIET, LogRecord()
                continue
            yield from self._all(first, lines)

    def flush(self) -> list[tuple[int, LogRecord]]:
        """The record that waits for lines that might join it, as it is."""
        if not self._held:
            return []
        record = (self.held_from, self._text_record(self._held))
        self._hold(0, "")
        return [record]

    def _all(self, first: tuple[int, str], lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, LogRecord]]:
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
            if number == QUIET or line.strip():
                yield number, line
            else:
                self.blank += 1

    def _json(self, lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, LogRecord]]:
        for number, line in lines:
            if number == QUIET:
                yield QUIET, LogRecord()
                continue
            fields = json_fields(line.strip())
            if fields is None:
                self.unparsed += 1
                self.form = "plain"
                yield number, self._plain(line)
            else:
                self.form = "json"
                yield number, to_record(fields, line.strip(), self._defaults)

    def _hold(self, number: int, text: str) -> None:
        self.held_from, self._held, self._last = number, text, text

    def _text(self, lines: Iterator[tuple[int, str]], *, recognise_json: bool) -> Iterator[tuple[int, LogRecord]]:
        """Holds each text record back until the next line shows that it is complete."""
        for number, line in lines:
            if number == QUIET:
                yield QUIET, LogRecord()
                continue
            # joined up to a bound: a file of indented lines alone must not become one record
            if self._held and len(self._held) + len(line) < _MAX_JOINED_CHARACTERS and continues(line, self._held, self._last):
                self._held, self._last = f"{self._held}\n{line}", line
                self.joined += 1
                continue
            complete = self.flush()
            structured = self._structured(line, recognise_json=recognise_json)
            # Before the record before it is given: who takes that one asks from where on to read again.
            self._hold(number, "" if structured is not None else line)
            yield from complete
            if structured is not None:
                self.held_from = 0
                self.form = "json" if line.startswith("{") else "treering old"
                yield number, to_record(structured, line, self._defaults)
        yield from self.flush()

    def _structured(self, line: str, *, recognise_json: bool) -> dict[str, Any] | None:
        if recognise_json and line.startswith("{"):
            return json_fields(line)
        return old_fields(line)

    def _text_record(self, text: str) -> LogRecord:
        fields, message = text_fields(text, self._defaults)
        self.form = "text" if fields else "plain"
        return to_record(fields | {"message": message}, text, self._defaults)

    def _plain(self, line: str) -> LogRecord:
        return LogRecord(service=self._defaults.service, environment=self._defaults.environment, message=line)


def _chain(first: tuple[int, str], rest: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    yield first
    yield from rest
