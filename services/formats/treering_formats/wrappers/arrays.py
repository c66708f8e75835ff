"""Arrays of records: CloudTrail's `Records`, Azure's `records`, CloudWatch's `logEvents`, Loki's `streams`, answers of Elasticsearch."""

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from treering_formats.fields import text_of
from treering_formats.times import any_time
from treering_formats.wrappers.envelope import Envelope
from treering_formats.wrappers.inner import Inner, InnerObject, InnerText, as_attributes

RECORDS = "records"
CLOUDWATCH = "cloudwatch"
LOKI = "loki"
ELASTICSEARCH = "elasticsearch"


_BETWEEN = re.compile(r"[ \t\r\n,]*")
_DECODER = json.JSONDecoder(parse_float=Decimal)


def json_items(text: str) -> list[Any] | None:
    """What is in a text that is an array, or several objects one behind the other; None for any other text."""
    items: list[Any] = []
    end = 0
    try:
        while end < len(text):
            value, end = _DECODER.raw_decode(text, end)
            items.append(value)
            # objects that were elements of an array may have its comma behind them
            end = _BETWEEN.match(text, end).end()  # type: ignore[union-attr]  # it matches the empty text, too
    except (ValueError, RecursionError):
        return None
    return items[0] if len(items) == 1 and isinstance(items[0], list) else items


def flat(value: Mapping[str, Any]) -> dict[str, Any]:
    """Keys and values of an object, nested ones dotted; a different value under the same name is kept as `treering.duplicate.NAME`."""
    fields: dict[str, Any] = {}
    waiting = [("", value)]
    while waiting:
        prefix, inner = waiting.pop()
        for key, item in inner.items():
            name = prefix + key
            if isinstance(item, dict) and item:
                waiting.append((f"{name}.", item))
            elif name in fields and fields[name] != item:
                fields[f"treering.duplicate.{name}"] = item
            else:
                fields[name] = item
    return fields


def array_items(items: Any, outer: Mapping[str, str] | None = None, form: str = RECORDS) -> Iterator[Inner] | None:
    """Each object of an array; None when the array is empty or has anything else in it."""
    if not isinstance(items, list) or not items or not all(isinstance(each, dict) for each in items):
        return None
    return (InnerObject(flat(each), text_of(each), form, outer or {}) for each in items)


def records_array(fields: dict[str, Any]) -> Iterator[Inner] | None:
    """What is in `Records` or `records`; what stands beside it holds for each."""
    name = "Records" if "Records" in fields else "records"
    return array_items(fields[name], as_attributes({key: value for key, value in fields.items() if key != name}))


def cloudwatch_events(fields: dict[str, Any]) -> Iterator[Inner] | None:
    """The events of a subscription of CloudWatch Logs: lines of one stream."""
    events = fields["logEvents"]
    if (
        not isinstance(events, list)
        or not events
        or not all(isinstance(each, dict) and isinstance(each.get("message"), str) for each in events)
    ):
        return None
    outer = as_attributes({key: value for key, value in fields.items() if key != "logEvents"})
    lane = (outer.get("logGroup"), outer.get("logStream"))
    service = outer.get("logGroup", "").rpartition("/")[2]
    return (_event(each, Envelope(lane, CLOUDWATCH, service=service, attributes=outer)) for each in events)


def _event(event: dict[str, Any], envelope: Envelope) -> InnerText:
    time = any_time(event.get("timestamp"))
    own = as_attributes({name: value for name, value in event.items() if name != "message" and not (time and name == "timestamp")})
    envelope.time_unix_nano = time or 0
    envelope.attributes = {**envelope.attributes, **own}
    return InnerText(event["message"].rstrip("\r\n"), envelope)


def loki_streams(fields: dict[str, Any]) -> Iterator[Inner] | None:
    """The lines of Loki's push request, or of an answer to a query."""
    streams = fields.get("streams", fields.get("data.result"))
    if not isinstance(streams, list) or not streams or not all(_is_stream(each) for each in streams):
        return None
    return (_loki_line(stream["stream"], value) for stream in streams for value in stream["values"])


def _is_stream(stream: Any) -> bool:
    if not isinstance(stream, dict) or not isinstance(stream.get("stream"), dict) or not isinstance(stream.get("values"), list):
        return False
    return all(isinstance(each, list) and len(each) > 1 and isinstance(each[1], str) for each in stream["values"])


def _loki_line(labels: Mapping[str, Any], value: list[Any]) -> InnerText:
    own = value[2] if len(value) > 2 and isinstance(value[2], dict) else {}
    attributes = as_attributes({**labels, **flat(own)})
    service = next((attributes[name] for name in ("service_name", "service", "app", "container", "job") if attributes.get(name)), "")
    environment = attributes.get("env") or attributes.get("environment") or ""
    lane = tuple(sorted(as_attributes(labels).items()))
    time = any_time(value[0])
    if time is None:
        attributes["treering.time"] = text_of(value[0])
    return InnerText(value[1].rstrip("\r\n"), Envelope(lane, LOKI, time or 0, 0, service, environment, attributes))


def elasticsearch_hits(fields: dict[str, Any]) -> Iterator[Inner] | None:
    """The documents of an answer to a search."""
    hits = fields["hits.hits"]
    found = array_items(hits, form=ELASTICSEARCH)
    return (inner for each in found for inner in _document_of(each)) if found else None


def _document_of(hit: Inner) -> Iterator[Inner]:
    opened = elasticsearch_document(hit.fields) if isinstance(hit, InnerObject) else None
    return opened or iter((hit,))


def elasticsearch_document(fields: dict[str, Any]) -> Iterator[Inner] | None:
    """One document with its index and id: what is below `_source` is the record."""
    source = {name.removeprefix("_source."): value for name, value in fields.items() if name.startswith("_source.")}
    if not source:
        return None
    outer = as_attributes({name: value for name, value in fields.items() if not name.startswith("_source.")})
    return iter((InnerObject(source, text_of(source), ELASTICSEARCH, outer),))
