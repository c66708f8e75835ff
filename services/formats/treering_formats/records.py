"""A stream of lines as a stream of records."""

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from treering.v1.log_pb2 import LogRecord
from treering_formats.event_reader import EventReader
from treering_formats.fields import Defaults
from treering_formats.joining.event import Event
from treering_formats.joining.joiner import Joiner
from treering_formats.json_line import json_fields
from treering_formats.reader import QUIET, Format, LineReader, Stream
from treering_formats.redaction.redactor import Redactor
from treering_formats.wrappers.arrays import array_items, json_items
from treering_formats.wrappers.inner import Inner, InnerObject, InnerText
from treering_formats.wrappers.journal_export import JournalAware
from treering_formats.wrappers.lines import open_line
from treering_formats.wrappers.objects import open_object

_OPENING = frozenset("{[")
Numbered = tuple[int, LogRecord]
"""A record with the number of its first line."""


class RecordReader:
    """Iterates over the records of a stream, each with the number of its first line.

    A stream that has nothing yet gives `(QUIET, LogRecord())`: who follows it decides then when to take what is held back, by `flush`.

    In `auto` and `jsonl` wrappers are opened, and JSON is recognised wherever it stands; in `text` every line is text.

    Attributes:
        form: The name of the form that the record given last was in; `plain` for a text of which nothing was understood.
        forms: How many records were given, by form.
        unparsed: Lines of JSON lines that are no JSON object, and were kept as plain messages.
        unread_times: Records with a time that was not understood; it is kept as `treering.time`.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        service: str,
        environment: str,
        fmt: Format,
        now: dt.datetime,
        zone: dt.tzinfo = dt.UTC,
        attributes: Mapping[str, str] | None = None,
        redactor: Redactor | None = None,
    ) -> None:
        """Makes a reader.

        Args:
            stream: The bytes.
            service: Of records that name none.
            environment: Of records that name none.
            fmt: What a line is.
            now: Dates without a year are near it.
            zone: Of times that name none.
            attributes: What every record gets that has no attribute of that name.
            redactor: Masks every record before it is given.
        """
        self._is_json = fmt != "text"
        # one look at the first line: what is text in a stream of objects is counted
        self._is_jsonl = True if fmt == "jsonl" else None if self._is_json else False
        self._source = JournalAware(stream) if self._is_json else None
        self._lines = LineReader(self._source or stream)
        self._defaults = Defaults(service, environment, now, zone)
        self._joiner = Joiner(json=self._is_json)
        self._events = EventReader(self._defaults, json=self._is_json)
        self._attributes = attributes
        self._redactor = redactor
        self.form = ""
        self.forms: Counter[str] = Counter()
        self.unparsed = 0
        self.unread_times = 0

    @property
    def lines(self) -> int:
        """Lines read so far; of the journal's export format, entries."""
        return self._lines.lines

    @property
    def bytes_read(self) -> int:
        """Bytes read so far."""
        export = self._source.export if self._source else None
        return export.bytes_read if export else self._lines.bytes_read

    @property
    def nul_bytes(self) -> int:
        """NUL bytes that were left out."""
        return self._lines.nul_bytes

    @property
    def replaced(self) -> int:
        """Lines that were not valid UTF-8."""
        return self._lines.replaced

    @property
    def records(self) -> int:
        """Records given so far."""
        return self.forms.total()

    @property
    def joined(self) -> int:
        """Lines that joined the record before them."""
        return self._joiner.joined

    @property
    def blank(self) -> int:
        """Lines without anything in them that are in no record."""
        return self._joiner.blank

    @property
    def held_from(self) -> int:
        """The number of the first line that is read and not yet given as a record; 0 when there is none."""
        return self._joiner.held_from

    def __iter__(self) -> Iterator[Numbered]:
        for number, line in self._lines:
            if number == QUIET:
                yield QUIET, LogRecord()
                continue
            record = self._take(number, line)
            if record is not None:
                yield number, record
                continue
            while event := self._joiner.pop():
                for each, form in self._events.read(event):
                    yield event.number, self._finished(each, form, len(event.lines))
        yield from self._end()

    def flush(self) -> list[Numbered]:
        """The records that wait for lines that might join them, as they are."""
        return list(self._end())

    def _end(self) -> Iterator[Numbered]:
        self._joiner.end()
        while event := self._joiner.pop():
            for each, form in self._events.read(event):
                yield event.number, self._finished(each, form, len(event.lines))

    def _take(self, number: int, line: str) -> LogRecord | None:
        """Takes a line; its record, where nothing before it is held and nothing behind it can belong to it."""
        if self._is_json and not self._joiner.is_inside_json():
            first = line[:1]
            if first.isspace() and self._is_jsonl:
                first = line.lstrip()[:1]
            if first in _OPENING:
                fields = json_fields(line)
                if fields is not None:
                    self._is_jsonl = self._is_jsonl is not False
                    return self._take_object(number, line, fields)
                if self._put_items(number, line):
                    return None
            inner = open_line(line)
            if inner is not None:
                self._put(number, inner)
                return None
        if self._is_jsonl is None and not line.isspace():
            self._is_jsonl = False
        self._joiner.add(number, line)
        return None

    def _take_object(self, number: int, line: str, fields: dict[str, Any]) -> LogRecord | None:
        opened = open_object(fields, self._defaults)
        if opened is not None:
            self._put_all(number, opened)
        elif self._joiner.held_from:
            self._put(number, InnerObject(fields, line, ""))
        else:
            record, form = self._events.object(fields, line)
            return self._finished(record, form, 1)
        return None

    def _put_items(self, number: int, line: str) -> bool:
        """Takes an array of objects, or several objects on a line; false when the line is neither."""
        items = array_items(json_items(line))
        if items is None:
            return False
        self._is_jsonl = self._is_jsonl is not False
        self._put_all(number, items)
        return True

    def _put_all(self, number: int, inner: Iterable[Inner]) -> None:
        for each in inner:
            self._put(number, each)

    def _put(self, number: int, inner: Inner) -> None:
        """Takes what was inside a wrapper: a line goes into its lane, anything else is complete."""
        self._joiner.end_lane(None)
        if isinstance(inner, InnerText) and not inner.is_whole:
            self._joiner.add(number, inner.text, inner.envelope)
        else:
            self._joiner.place(Event(number, None, inner))

    def _finished(self, record: LogRecord, form: str, lines: int) -> LogRecord:
        """Counts a record and puts the last hand on it."""
        self.form = form
        self.forms[form] += 1
        if form == "plain" and self._is_jsonl:
            self.unparsed += lines
        if "treering.time" in record.attributes:
            self.unread_times += 1
        if self._attributes:
            for name, value in self._attributes.items():
                if name not in record.attributes:
                    record.attributes[name] = value
        if self._redactor:
            self._redactor.mask(record)
        return record
