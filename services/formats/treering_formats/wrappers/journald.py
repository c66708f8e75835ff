"""Entries of the systemd journal as `journalctl -o json` writes them."""

from collections.abc import Hashable, Iterator
from typing import Any

from treering_formats.instants import epoch
from treering_formats.known.reading import SYSLOG_SEVERITIES
from treering_formats.wrappers.envelope import Envelope
from treering_formats.wrappers.inner import InnerText, as_attributes

NAME = "journald"


def journald_entry(fields: dict[str, Any]) -> Iterator[InnerText] | None:
    """The text of an entry; None when the object is none."""
    if "MESSAGE" not in fields:
        return None
    return iter((_open({name: _text(value) for name, value in fields.items()}),))


def _text(value: Any) -> Any:
    """A value that is no plain text comes as its bytes; a field that is there several times as a list."""
    if not isinstance(value, list):
        return value
    if all(isinstance(each, int) and 0 <= each < 256 for each in value):
        return bytes(value).decode(errors="replace")
    return "\n".join(str(_text(each)) for each in value)


def _open(fields: dict[str, Any]) -> InnerText:
    message = fields.pop("MESSAGE")
    text = message if isinstance(message, str) else ""
    time = _time(fields, "_SOURCE_REALTIME_TIMESTAMP") or _time(fields, "__REALTIME_TIMESTAMP")
    envelope = Envelope(_lane(fields), NAME, time, _severity(fields), _service(fields), "", {})
    envelope.attributes = as_attributes(fields)
    # each line of a program's standard output is an entry; what comes by syslog or the journal's own socket is whole
    is_whole = fields.get("_TRANSPORT") != "stdout"
    return InnerText(text, envelope, is_whole)


def _time(fields: dict[str, Any], name: str) -> int:
    text = str(fields.get(name, ""))
    found = epoch(int(text)) if text.isascii() and text.isdigit() and len(text) < 19 else None
    if not found:
        return 0
    del fields[name]
    return found


def _severity(fields: dict[str, Any]) -> int:
    priority = str(fields.get("PRIORITY", ""))
    if priority not in {"0", "1", "2", "3", "4", "5", "6", "7"}:
        return 0
    del fields["PRIORITY"]
    return SYSLOG_SEVERITIES[int(priority)]


def _service(fields: dict[str, Any]) -> str:
    for name in ("SYSLOG_IDENTIFIER", "_SYSTEMD_UNIT", "_COMM"):
        value = fields.get(name)
        if isinstance(value, str) and value:
            return value.removesuffix(".service")
    return ""


def _lane(fields: dict[str, Any]) -> Hashable:
    stream = fields.get("_STREAM_ID")
    return str(stream) if stream else (str(fields.get("_SYSTEMD_UNIT")), str(fields.get("_PID")), str(fields.get("_TRANSPORT")))
