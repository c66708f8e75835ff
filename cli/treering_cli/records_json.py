"""Stored records as JSON and as lines."""

from typing import Any

from treering.severity import severity_name
from treering.v1.log_pb2 import LogRecord, StoredRecord
from treering_cli.escaping import escape
from treering_cli.output import rfc3339


def record_json(stored: StoredRecord) -> dict[str, Any]:
    """One record: its place, times as RFC 3339 with nanoseconds where there are any, severity as a word, ids as decimal strings."""
    fields = fields_json(stored.record)
    return {
        "offset": stored.position.offset,
        "log_id": str(stored.position.log_id),
        "time": fields.pop("time"),
        "arrival_time": rfc3339(stored.arrival_time_unix_nano),
        **{name: fields.pop(name) for name in ("severity", "service", "environment", "message", "attributes")},
        "pattern_id": str(stored.pattern_id),
        **({"whole_message_bytes": stored.whole_message_bytes} if stored.whole_message_bytes else {}),
        **fields,
    }


def fields_json(record: LogRecord) -> dict[str, Any]:
    """What a record says itself."""
    fields: dict[str, Any] = {
        "time": rfc3339(record.time_unix_nano),
        "severity": severity_name(record.severity),
        "service": record.service,
        "environment": record.environment,
        "message": record.message,
        "attributes": dict(sorted(record.attributes.items())),
    }
    if record.trace_id:
        fields["trace_id"] = record.trace_id.hex()
    if record.span_id:
        fields["span_id"] = record.span_id.hex()
    return fields


def record_line(stored: StoredRecord) -> str:
    """One record on one line for people, safe for a terminal."""
    record = stored.record
    origin = "/".join(part for part in (record.environment, record.service) if part)
    time = rfc3339(record.time_unix_nano).ljust(24)
    return escape(f"{stored.position.offset:>9}  {time}  {severity_name(record.severity):<6}  {origin}  {record.message}")
