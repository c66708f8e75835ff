"""Plain text: the record that a line makes, or the lines of one event."""

import datetime as dt
import re

from treering.severity import SEVERITY_WORDS
from treering.v1.log_pb2 import LogRecord
from treering_formats.fields import Defaults
from treering_formats.front import LEVEL_TEXT, LONGEST_FRONT, Front, read_front
from treering_formats.instants import iso_time
from treering_formats.levels import says_more
from treering_formats.standing_levels import level_of_next_line
from treering_formats.text_forms import form_at
from treering_formats.times import TimeReading

# The form of most logs in one look: 2026-11-20T10:00:00.123Z INFO text, also with a thread in between. Whatever stands
# there that needs a second look, a mark behind the level for example, is left to `front`. The minute is checked where it is read.
_USUAL = re.compile(
    r"(.{16}):(\d\d)(?:[.,](\d{1,9}))?(Z|[+-]\d\d:\d\d)? +(?:\[([A-Za-z][\w.-]*)\] +)?([A-Z]{4,7}) +(?=[^\s:,|-])", re.ASCII
)
_USUAL_LEVELS = {word: SEVERITY_WORDS[word.lower()] for word in ("TRACE", "DEBUG", "INFO", "WARN", "WARNING", "ERROR", "FATAL")}


def text_record(text: str, defaults: Defaults) -> LogRecord:
    """The record of a line, or of lines that belong together."""
    return usual_record(text, defaults) or _record(text, read_text(text, defaults.reading), defaults)


def usual_record(text: str, defaults: Defaults) -> LogRecord | None:
    """The record of a text with the front that most have, a time and a level; None for any other."""
    usual = _USUAL.match(text)
    severity = _USUAL_LEVELS.get(usual[6]) if usual else None
    if not usual or not severity:
        return None
    minute, second, fraction, zone, thread = usual.group(1, 2, 3, 4, 5)
    time = iso_time(minute, second, fraction, zone or "Z") if zone or defaults.zone is dt.UTC else None
    if time is None:
        return None
    record = LogRecord()
    record.time_unix_nano = time
    record.severity = severity  # type: ignore[assignment]  # enums are open
    record.service = defaults.service
    record.environment = defaults.environment
    record.message = text[usual.end() :]
    if thread:
        record.attributes["thread"] = thread
    return record


def _record(text: str, front: Front, defaults: Defaults) -> LogRecord:
    record = LogRecord(
        time_unix_nano=front.time,
        severity=front.severity,  # type: ignore[arg-type]  # enums are open
        service=defaults.service,
        environment=defaults.environment,
        message=_message(text, front),
    )
    if front.attributes:
        record.attributes.update(front.attributes)
    return record


def _message(text: str, front: Front) -> str:
    """What is behind the front; never empty, as ingest refuses it: a text that is nothing but its front is its own message."""
    return text[front.end :].lstrip("\n") or text


def read_text(text: str, reading: TimeReading) -> Front:
    """The front of a text of one or more lines."""
    form = form_at(text, reading)
    if form:
        return form
    end = text.find("\n", 0, LONGEST_FRONT)
    front = read_front(text[: LONGEST_FRONT if end < 0 else end], reading) or Front(0, 0, {}, 0)
    level = None if front.severity or end < 0 else level_of_next_line(text, end + 1)
    if not level:
        return front
    more = {LEVEL_TEXT: level[1]} if says_more(level[1]) else {}
    return front._replace(severity=level[0], attributes=front.attributes | more)
