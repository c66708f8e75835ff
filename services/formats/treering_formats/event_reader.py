"""The text or the object of one event as records."""

import dataclasses
import datetime as dt
from collections.abc import Hashable, Iterable, Iterator, Mapping
from json import dumps
from typing import Any

from treering.v1.log_pb2 import LogRecord
from treering_formats.fields import Defaults, to_record
from treering_formats.joining.event import Event
from treering_formats.joining.limits import MAX_LANES
from treering_formats.json_line import json_fields
from treering_formats.known import known_object, read_known
from treering_formats.known.reading import Context, Reading
from treering_formats.old_form import old_fields
from treering_formats.own_export import without_place
from treering_formats.text_line import text_record, usual_record
from treering_formats.wrappers.arrays import array_items, json_items
from treering_formats.wrappers.envelope import Envelope
from treering_formats.wrappers.inner import Inner, InnerObject, InnerRecord
from treering_formats.wrappers.objects import open_object

_MAX_DEPTH = 3
"""Wrappers inside wrappers: an export of the journal inside Docker's file inside an array."""

Named = tuple[LogRecord, str]
"""A record and the name of the form that it was in."""


class EventReader:
    """Reads events; what the event says itself wins over what stands around it."""

    def __init__(self, defaults: Defaults, *, json: bool) -> None:
        """Makes a reader.

        Args:
            defaults: For what neither the event nor its envelope says.
            json: Whether a text that is JSON is read as such.
        """
        self._defaults = defaults
        self._json = json
        self._contexts: dict[Hashable, Context] = {}

    def read(self, event: Event) -> Iterable[Named]:
        """The records of an event: one, or as many as a JSON text has."""
        if event.content is not None:
            return self.inner(event.content)
        text = event.text
        if self._json and (event.kind == "json" or (event.envelope and text[0] in "{[")):
            objects = self._objects(text, event.envelope)
            if objects is not None:
                return objects
        return (self._text(text, event.envelope),)

    def object(self, fields: dict[str, Any], text: str, defaults: Defaults | None = None) -> Named:
        """The record of an object that is no wrapper. `fields` is consumed."""
        fields = without_place(fields)
        form = known_object(fields) or "json"
        return _not_empty(to_record(fields, text, defaults or self._defaults), text), form

    def inner(self, inner: Inner, depth: int = 0) -> Iterator[Named]:
        """The records of what was inside a wrapper."""
        if isinstance(inner, InnerRecord):
            yield inner.record, inner.form
        elif isinstance(inner, InnerObject):
            opened = open_object(inner.fields, self._defaults) if depth < _MAX_DEPTH else None
            found = (
                (each for one in opened for each in self.inner(one, depth + 1))
                if opened
                else iter((self.object(inner.fields, inner.text),))
            )
            for record, form in found:
                _add(record, inner.outer, inner.form)
                yield record, f"{inner.form}+{form}" if inner.form else form
        else:
            yield self._text(inner.text, inner.envelope)

    def _objects(self, text: str, envelope: Envelope | None) -> Iterator[Named] | None:
        """The records of a text that is JSON; None when it is not."""
        fields = json_fields(text)
        if fields is None:
            items = array_items(json_items(text))
            return (each for item in items for each in self.inner(item)) if items else None
        defaults = self._around(envelope) if envelope else self._defaults
        opened = open_object(fields, defaults)
        if opened is None:
            return iter((_wrapped(self.object(fields, text, defaults), envelope),))
        return (_wrapped(each, envelope) for one in opened for each in self.inner(one, 1))

    def _text(self, text: str, envelope: Envelope | None) -> Named:
        if envelope is None:
            return self._bare_text(text, self._defaults, None)
        return _wrapped(self._bare_text(text, self._around(envelope), envelope.lane), envelope)

    def _bare_text(self, text: str, defaults: Defaults, lane: Hashable) -> Named:
        """The strict forms first: each later one takes texts that an earlier one understands better."""
        usual = usual_record(text, defaults)
        if usual is not None:
            return usual, "text"
        old = old_fields(text)
        if old is not None:
            return _not_empty(to_record(dict(old), text, defaults), text), "treering old"
        context = self._contexts.get(lane) or self._new_context(lane)
        known = read_known(text, context)
        if known:
            return _known_record(known[0], text, defaults), known[1]
        record = text_record(text, defaults)
        if _may_be_head(record):
            behind = read_known(record.message, context)
            if behind:
                return _behind_head(record, behind[0], defaults), behind[1]
        return record, "text" if record.time_unix_nano or record.severity or record.attributes else "plain"

    def _new_context(self, lane: Hashable) -> Context:
        if len(self._contexts) >= MAX_LANES:
            self._contexts.clear()
        context = self._contexts[lane] = Context(self._defaults.reading)
        return context

    def _around(self, envelope: Envelope) -> Defaults:
        """What holds for an event in an envelope. A date without a year is near the time when the runtime took it."""
        defaults = self._defaults
        now = defaults.now
        if envelope.time_unix_nano:
            now = min(now, dt.datetime.fromtimestamp(envelope.time_unix_nano // 10**9, dt.UTC))
        service, environment = envelope.service or defaults.service, envelope.environment or defaults.environment
        return dataclasses.replace(defaults, service=service, environment=environment, now=now)


def _known_record(found: Reading | dict[str, Any], text: str, defaults: Defaults) -> LogRecord:
    return found.record(defaults) if isinstance(found, Reading) else _not_empty(to_record(found, text, defaults), text)


def _not_empty(record: LogRecord, text: str) -> LogRecord:
    """A record whose own message is empty has all of the text as its message: without one it would be rejected."""
    if not record.message:
        record.message = text
    return record


def _may_be_head(record: LogRecord) -> bool:
    """Whether what a text said by its front may be the head of a known format: of syslog, or a time before pairs with a level in them."""
    return "program" in record.attributes or (record.time_unix_nano > 0 and not record.severity and "=" in record.message)


def _behind_head(head: LogRecord, found: Reading | dict[str, Any], defaults: Defaults) -> LogRecord:
    """The record of a known format behind a head: what it says itself wins."""
    record = _known_record(found, head.message, defaults)
    record.time_unix_nano = record.time_unix_nano or head.time_unix_nano
    record.severity = record.severity or head.severity
    _add(record, head.attributes, "head")
    return record


def _wrapped(named: Named, envelope: Envelope | None) -> Named:
    """With what the envelope says of time, severity and everything else."""
    if envelope is None:
        return named
    record, form = named
    if not record.time_unix_nano:
        record.time_unix_nano = envelope.time_unix_nano
    if not record.severity and envelope.severity:
        record.severity = envelope.severity  # type: ignore[assignment]  # enums are open
    if not record.message:  # an entry without a text: what it says stands in its attributes
        record.message = dumps(dict(envelope.attributes), ensure_ascii=False)
    _add(record, envelope.attributes, envelope.form)
    return record, f"{envelope.form}+{form}"


def _add(record: LogRecord, outer: Mapping[str, str], form: str) -> None:
    """Adds attributes from around a record; one whose name is taken by another value gets the wrapper's name in front."""
    attributes = record.attributes
    for name, value in outer.items():
        if name not in attributes:
            attributes[name] = value
        elif attributes[name] != value:
            attributes[f"{form}.{name}"] = value
