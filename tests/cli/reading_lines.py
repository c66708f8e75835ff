"""Lines to records, for tests of the formats."""

import datetime as dt
import io
from collections.abc import Mapping
from typing import Any

from treering_formats.records import RecordReader
from treering_formats.redaction.redactor import Redactor

NOW = dt.datetime(2026, 11, 23, 19, 0, tzinfo=dt.UTC)


def reader(text: str | bytes, fmt: str = "auto", **options: Redactor | None) -> RecordReader:
    """A reader of a text or of bytes."""
    raw = text if isinstance(text, bytes) else text.encode()
    return RecordReader(io.BytesIO(raw), **{"service": "stem", "environment": "here", "fmt": fmt, "now": NOW} | options)


def records(text: str | bytes, fmt: str = "auto", **options: str | Any | Mapping[str, str]) -> list[Any]:
    """The records of a text."""
    return [record for _, record in reader(text, fmt, **options)]


def messages(text: str, fmt: str = "auto") -> list[Any]:
    """The messages of a text."""
    return [record.message for record in records(text, fmt)]


def one(text: str, fmt: str = "auto", **options: str | Any | Mapping[str, str]) -> Any:
    """The only record of a text."""
    (record,) = records(text, fmt, **options)
    return record


def nanos(text: str) -> int:
    """Nanoseconds of a time with at most six digits of a second."""
    found = dt.datetime.fromisoformat(text)
    return int(found.timestamp()) * 10**9 + found.microsecond * 1000
