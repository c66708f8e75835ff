"""Lines to records, for tests of the formats."""

import datetime as dt
import io

from treering_formats.records import RecordReader

NOW = dt.datetime(2026, 11, 23, 19, 0, tzinfo=dt.UTC)


def reader(text, fmt="auto", **options):
    """A reader of a text or of bytes."""
    raw = text if isinstance(text, bytes) else text.encode()
    return RecordReader(io.BytesIO(raw), **{"service": "stem", "environment": "here", "fmt": fmt, "now": NOW} | options)


def records(text, fmt="auto", **options):
    """The records of a text."""
    return [record for _, record in reader(text, fmt, **options)]


def messages(text, fmt="auto"):
    """The messages of a text."""
    return [record.message for record in records(text, fmt)]


def one(text, fmt="auto", **options):
    """The only record of a text."""
    (record,) = records(text, fmt, **options)
    return record


def nanos(text):
    """Nanoseconds of a time with at most six digits of a second."""
    found = dt.datetime.fromisoformat(text)
    return int(found.timestamp()) * 10**9 + found.microsecond * 1000
