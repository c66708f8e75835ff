"""What the contract says of one record at a time, in plain Python and from the bytes: the twin of the columns and of both digests.

It reads the wire by itself, because a library's map has forgotten what a key's earlier values were.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from treering.v1.sink_pb2 import DeliveredFrame

VARINT, FIXED64, BYTES, GROUP, END, FIXED32 = range(6)
RECORDS, RESOURCE = 3, 5
TIME, SEVERITY, SERVICE, ENVIRONMENT, MESSAGE, ATTRIBUTES, TRACE_ID, SPAN_ID = range(1, 9)

Field = tuple[int, int, int | bytes]
Pairs = list[tuple[str, str]]


@dataclass
class Reader:
    """Reads one message from the front."""

    data: bytes
    at: int = 0

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value % 2**64

    def take(self, size: int) -> bytes:
        assert self.at + size <= len(self.data)
        self.at += size
        return self.data[self.at - size : self.at]

    def field(self) -> Field:
        number, kind = divmod(self.varint(), 8)
        if kind == VARINT:
            return number, kind, self.varint()
        if kind == BYTES:
            return number, kind, self.take(self.varint())
        if kind == GROUP:
            while self.field()[:2] != (number, END):
                pass
            return number, kind, b""
        if kind == END:
            return number, kind, b""
        return number, kind, self.take({FIXED64: 8, FIXED32: 4}[kind])


def fields(data: bytes) -> Iterator[Field]:
    reader = Reader(data)
    while reader.at < len(data):
        yield reader.field()


def last(found: Sequence[Field], number: int, kind: int, default: int | bytes) -> int | bytes:
    return next((value for each, of, value in reversed(found) if (each, of) == (number, kind)), default)


def text(found: Sequence[Field], number: int) -> str:
    value = last(found, number, BYTES, b"")
    assert isinstance(value, bytes)
    return value.decode()


def plain_pairs(found: Sequence[Field]) -> Pairs:
    """The entries of the map, as they came."""
    entries = [list(fields(value)) for number, kind, value in found if (number, kind) == (ATTRIBUTES, BYTES)]
    return [(text(entry, 1), text(entry, 2)) for entry in entries]


def plain_attributes(pairs: Pairs) -> dict[str, str]:
    """The last value of a key counts; different earlier ones stay, each once, behind what the sender wrote under their key."""
    values: dict[str, list[str]] = {}
    for key, value in pairs:
        values.setdefault(key, []).append(value)
    attributes = {key: of_key[-1] for key, of_key in values.items()}
    for key, of_key in values.items():
        replaced = list(dict.fromkeys(value for value in of_key if value != of_key[-1]))
        if replaced:
            name = f"treering.duplicate.{key}"
            sent = [values[name][-1]] if name in values else []
            attributes[name] = "\n".join([*sent, *replaced])
    return attributes


def plain_name(name: str) -> str:
    """As many characters as fit into 256 bytes."""
    while len(name.encode()) > 256:
        name = name[:256] if len(name) > 256 else name[:-1]
    return name


def plain_row(log_id: int, offset: int, arrival: int, record: bytes) -> dict[str, object]:
    """A record of the log as it is stored."""
    found = list(fields(record))
    sent = plain_pairs(found)
    pairs = [(plain_name(key), value) for key, value in sent]
    pairs += [("treering.attribute_key", key) for key, _ in sent if plain_name(key) != key]
    time = int.from_bytes(last(found, TIME, FIXED64, bytes(8)), "little")
    if time > 2**63 - 2:
        pairs.append(("treering.time_unix_nano", str(time)))
        time = 0
    severity = (last(found, SEVERITY, VARINT, 0) + 2**31) % 2**32 - 2**31
    if not 0 <= severity <= 24:
        pairs.append(("treering.severity", str(severity)))
        severity = 0
    names = {}
    for name, number in (("service", SERVICE), ("environment", ENVIRONMENT)):
        names[name] = text(found, number)
        if plain_name(names[name]) != names[name]:
            pairs.append((f"treering.{name}", names[name]))
            names[name] = plain_name(names[name])
    ids = {}
    for name, number, length in (("trace_id", TRACE_ID, 16), ("span_id", SPAN_ID, 8)):
        ids[name] = last(found, number, BYTES, b"")
        if len(ids[name]) not in {0, length}:
            pairs.append((f"treering.{name}", ids[name].hex()))
            ids[name] = b""
    return {
        "log_id": log_id,
        "offset": offset,
        "time": time or arrival,
        "arrival_time": arrival,
        "severity": severity,
        **names,
        "message": text(found, MESSAGE),
        "attributes": plain_attributes(pairs),
        **ids,
    }


def plain_resource(payload: bytes) -> dict[str, str]:
    """What holds for all records of a batch."""
    entries = [list(fields(value)) for number, kind, value in fields(payload) if (number, kind) == (RESOURCE, BYTES)]
    return {text(entry, 1): text(entry, 2) for entry in entries}


def plain_rows(log_id: int, frames: Sequence[DeliveredFrame]) -> list[dict[str, object]]:
    """All records of some frames, as people see them: what holds for the batch and is not the record's own is among its attributes."""
    rows = plain_columns(log_id, frames)
    return [row | {"attributes": row.pop("resource") | row["attributes"]} for row in rows]


def plain_columns(log_id: int, frames: Sequence[DeliveredFrame]) -> list[dict[str, object]]:
    """The same as it is stored: each record with its own attributes, and what holds for the batch beside them."""
    rows = []
    for frame in frames:
        records = [value for number, kind, value in fields(frame.payload) if (number, kind) == (RECORDS, BYTES)]
        assert len(records) == frame.record_count
        shared = {"resource": plain_resource(frame.payload)}
        rows += [
            plain_row(log_id, offset, frame.arrival_time_unix_nano, record) | shared
            for offset, record in enumerate(records, frame.first_offset)
        ]
    return rows


def plain_digest(row: dict[str, object]) -> int:
    """The number of a row, as the comment of `RangeDigest` says."""
    pairs = "\x02".join(sorted(f"{key}\x01{value}" for key, value in row["attributes"].items()))
    names = ("offset", "arrival_time", "time", "severity", "service", "environment", "message")
    parts = [*(row[name] for name in names), row["trace_id"].hex(), row["span_id"].hex(), pairs]
    whole = "\0".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.md5(whole, usedforsecurity=False).digest()[8:], "little")
