"""Which JSON objects are wrappers, by a field that each has."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from treering_formats.fields import Defaults
from treering_formats.wrappers.arrays import (
    cloudwatch_events,
    elasticsearch_document,
    elasticsearch_hits,
    loki_streams,
    records_array,
)
from treering_formats.wrappers.docker import docker_line
from treering_formats.wrappers.inner import Inner
from treering_formats.wrappers.journald import journald_entry
from treering_formats.wrappers.otlp import otlp_records

_Opener = Callable[[dict[str, Any]], Iterator[Inner] | None]
_OPENERS: Mapping[str, _Opener] = {
    "log": docker_line,
    "__REALTIME_TIMESTAMP": journald_entry,
    "__CURSOR": journald_entry,
    "_SOURCE_REALTIME_TIMESTAMP": journald_entry,
    "Records": records_array,
    "records": records_array,
    "logEvents": cloudwatch_events,
    "streams": loki_streams,
    "data.result": loki_streams,
    "hits.hits": elasticsearch_hits,
    "_index": elasticsearch_document,
}
_OTLP = frozenset({"resourceLogs", "resource_logs"})
_MARKS = frozenset(_OPENERS) | _OTLP


def open_object(fields: dict[str, Any], defaults: Defaults) -> Iterator[Inner] | None:
    """What is inside an object with flat fields; None when it is no wrapper. The fields stay as they are."""
    if _MARKS.isdisjoint(fields):  # nearly every object: one look at its names
        return None
    for mark in _MARKS.intersection(fields):
        opened = otlp_records(fields, defaults) if mark in _OTLP else _OPENERS[mark](fields)
        if opened is not None:
            return opened
    return None
