"""Lines of `treering export --format jsonl`: what only the store knew of a record is no part of it when it is sent again."""

from typing import Any

_PLACE = ("offset", "log_id", "arrival_time", "pattern_id")
_NAME_OF_LEVEL = "severity_text"
_LEFT_OUT = {*_PLACE, _NAME_OF_LEVEL}
_OFTEN_EMPTY = {"environment", "trace_id", "span_id"}
_RECORD = ("time", "severity", "service", "environment", "message")


def without_place(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of such a line without the record's place in the store it came from; those of any other line as they are."""
    if _NAME_OF_LEVEL not in fields or not all(name in fields for name in (*_PLACE, *_RECORD)):
        return fields
    return {name: value for name, value in fields.items() if name not in _LEFT_OUT and not (name in _OFTEN_EMPTY and not value)}
