r"""Docker's json-file: `{"log":"text\n","stream":"stdout","time":"..."}`, and what Fluent Bit and Fluentd make of it."""

from collections.abc import Iterator
from typing import Any

from treering_formats.times import any_time
from treering_formats.wrappers.envelope import Envelope
from treering_formats.wrappers.inner import InnerText, as_attributes

NAME = "docker"
_STREAMS = frozenset({"stdout", "stderr"})
_TIMES = ("time", "@timestamp", "timestamp", "date")
_SERVICES = (
    "kubernetes.labels.app.kubernetes.io/name",
    "kubernetes.labels.app",
    "kubernetes.container_name",
    "container_name",
    "attrs.com.docker.compose.service",
)


def docker_line(fields: dict[str, Any]) -> Iterator[InnerText] | None:
    """The line of a container; None when the object is none."""
    text, stream = fields.get("log"), fields.get("stream")
    if not isinstance(text, str) or stream not in _STREAMS:
        return None
    return iter((_open(text, dict(fields)),))


def _open(text: str, fields: dict[str, Any]) -> InnerText:
    del fields["log"]
    partial = _is_partial(text, fields)
    time = 0
    for name in _TIMES:
        found = any_time(fields.get(name))
        if found:
            time = found
            del fields[name]
            break
    service = next((fields[name] for name in _SERVICES if isinstance(fields.get(name), str)), "")
    # a daemon's set of pods shares one file: the container tells whose line it is
    lane = (fields["stream"], fields.get("kubernetes.docker_id") or fields.get("container_id") or fields.get("kubernetes.pod_name"))
    return InnerText(text.rstrip("\r\n"), Envelope(lane, NAME, time, 0, service, "", as_attributes(fields), partial))


def _is_partial(text: str, fields: dict[str, Any]) -> bool:
    """Docker cuts lines over 16 KiB, and only the last piece has a line feed; collectors carry the mark of CRI instead, or none."""
    for mark in ("logtag", "_p"):
        if fields.get(mark) in {"P", "F"}:
            return bool(fields.pop(mark) == "P")
    if text.endswith("\n") or any(name not in {"stream", "time"} and not name.startswith("attrs") for name in fields):
        return False
    return not (text.startswith("{") and text.endswith("}"))
