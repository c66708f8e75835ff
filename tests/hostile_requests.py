"""Requests that a stranger might send: fields at their ends and beyond, too long lists, texts that are none, bytes that are no message."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf, nan
from random import Random
from struct import pack

from google.protobuf.descriptor import Descriptor, FieldDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from treering.v1 import admin_pb2, embed_pb2, ingest_pb2, query_pb2, sink_pb2
from treering_embed import request_limits as embed
from treering_ingest import request_limits as ingest
from treering_query import request_limits as query
from treering_runtime.limits import MAX_MESSAGE_BYTES, MAX_REQUEST_FIELDS
from treering_runtime.request_limits import Known, Many, Number, RequestLimits, Sizes, Text, row_name

TABLES = {"Ingest": ingest.LIMITS, "Query": query.LIMITS, "Embed": embed.LIMITS}
"""By what the names of the services that have them begin with; the others have what is shared."""
FILES = (admin_pb2, ingest_pb2, query_pb2, embed_pb2, sink_pb2, health_pb2, reflection_pb2)
SERVICES = [service for file in FILES for service in file.DESCRIPTOR.services_by_name.values()]

F = FieldDescriptor
FIXED = {F.TYPE_FIXED64: 8, F.TYPE_DOUBLE: 8, F.TYPE_FIXED32: 4, F.TYPE_FLOAT: 4}
TEXTS = (
    b"",
    b"a",
    b"x\0y",
    b"\xff",
    b"\xed\xa0\x80",
    "\u202ezero\u200bwidth".encode(),
    b"'; drop table logs; --",
    b"\x1b[31m",
    b"x" * 70_000,
)


REPEATED_BYTES = 200_000
"""Bytes of one list, about: the larger ones are another test's."""


def table_of(service: ServiceDescriptor) -> RequestLimits:
    """The limits of a contract's service."""
    return RequestLimits(next((rows for name, rows in TABLES.items() if service.name.startswith(name)), {}))


def within_limits(request: Message) -> Message:
    """The request as a handler sees it; raises what the boundary refuses it with."""
    service = next(service for service in SERVICES if any(method.input_type == request.DESCRIPTOR for method in service.methods))
    table_of(service).check(request)
    return request


def services_of(name: str) -> Iterator[tuple[str, ServiceDescriptor]]:
    """What one of ingest, embed and query serves, and on which plane."""
    for service in SERVICES:
        is_admin = service.file.name in {admin_pb2.DESCRIPTOR.name, sink_pb2.DESCRIPTOR.name}
        if service.name.startswith(name.capitalize()) or (service.name == "SinkService" and name != "ingest"):
            yield "inner" if is_admin else "public", service
        elif not any(service.name.startswith(one) for one in (*TABLES, "Sink")):
            yield "public", service


def varint(number: int) -> bytes:
    found = b""
    while number > 127:
        found, number = found + bytes([number & 127 | 128]), number >> 7
    return found + bytes([number])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def hostile_request(random: Random, limits: RequestLimits, kind: Descriptor, depth: int = 0) -> bytes:
    """One request: some fields as they should be, some not; now and then cut off, or as deep as no library reads."""
    raw = b"".join(_field(random, limits, each, depth) for each in kind.fields if random.random() < 0.4 and _is_taken(random, each, depth))
    return raw[: random.randrange(len(raw))] if raw and random.random() < 0.05 else raw


def _is_taken(random: Random, each: FieldDescriptor, depth: int) -> bool:
    """Whether a field is given one more level of what stands in itself, which would have no end otherwise."""
    return not stands_in_itself(each) or random.random() < 0.5 / (depth + 1)


def stands_in_itself(each: FieldDescriptor) -> bool:
    """Whether a field holds messages of the kind that it is a field of."""
    return each.message_type is not None and each.message_type == each.containing_type


def _field(random: Random, limits: RequestLimits, each: FieldDescriptor, depth: int) -> bytes:
    limit = limits.rows.get(row_name(each))
    count = 1
    if isinstance(limit, Many):
        count = random.choice((1, 1, 2, min(limit.most, 1_000), limit.most + 1 if limit.most < 20_000 else 2))
    one = limit.each if isinstance(limit, Many) else limit
    if stands_in_itself(each) and random.random() < 0.1:
        return deep(each, random.choice((31, 32, 33, 99, 101, 1_000, 5_000)))
    values = [_value(random, limits, each, one, depth) for _ in range(min(count, 3))]
    return b"".join(values) + values[0] * max(0, min(count - 3, REPEATED_BYTES // max(len(values[0]), 1)))


def deep(each: FieldDescriptor, levels: int) -> bytes:
    """A field of messages of its own kind, one in the other."""
    content = b""
    for _ in range(levels):
        content = field(each.number, content)
    return content


def _value(random: Random, limits: RequestLimits, each: FieldDescriptor, limit: object, depth: int) -> bytes:
    if each.type == F.TYPE_MESSAGE:
        return field(each.number, hostile_request(random, limits, each.message_type, depth + 1))
    if each.type in {F.TYPE_STRING, F.TYPE_BYTES}:
        sizes = [b"x" * (limit.most + random.randrange(2))] if isinstance(limit, Text) else [b"x" * 15, b"x" * 16, b"x" * 17]
        return field(each.number, random.choice((*TEXTS, *sizes)))
    ends = [0, 1, 2, 50, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1]
    if isinstance(limit, Number) and isinstance(limit.most, int):
        ends += [limit.most, limit.most + 1, limit.most - 1] * 3
    if isinstance(limit, Known):
        ends += list(range(8)) * 3
    if each.type in FIXED:
        size = FIXED[each.type]
        return varint(each.number << 3 | (1 if size == 8 else 5)) + random.choice(
            (random.choice(ends) % 256**size, random.getrandbits(8 * size))
        ).to_bytes(size, "little")
    return varint(each.number << 3) + varint(random.choice(ends) % 2**64)


def paths(kind: Descriptor, before: tuple[FieldDescriptor, ...] = ()) -> Iterator[list[FieldDescriptor]]:
    for field in kind.fields:
        yield [*before, field]
        # One that stands in itself has the same fields again.
        if field.message_type and not stands_in_itself(field):
            yield from paths(field.message_type, (*before, field))


def nested(path: list[FieldDescriptor], content: bytes) -> bytes:
    for field in reversed(path):
        content = varint(field.number << 3 | 2) + varint(len(content)) + content
    return content


def with_value(kind: Descriptor, path: list[FieldDescriptor], value: object) -> bytes:
    """A request in which one field, at a path of single and repeated messages, has a value."""
    message = whole = GetMessageClass(kind)()
    for field in path[:-1]:
        message = getattr(message, field.name).add() if field.is_repeated else getattr(message, field.name)
        message.SetInParent()
    field = path[-1]
    if field.message_type and field.message_type.GetOptions().map_entry:
        for number, _ in enumerate(value):
            getattr(message, field.name)[f"{number}"] = ""
    elif field.is_repeated and field.message_type:
        for _ in value:
            getattr(message, field.name).add()
    elif field.is_repeated:
        getattr(message, field.name).extend(value)
    else:
        setattr(message, field.name, value)
    return whole.SerializeToString()


def edges(limits: RequestLimits, kind: Descriptor) -> Iterator[tuple[list[FieldDescriptor], object, object, int | None]]:
    """Each field with a limit: its path, a value at the limit, one above, and the limit."""
    for path in paths(kind):
        limit = limits.rows.get(row_name(path[-1]))
        if isinstance(limit, Many):
            one = {FieldDescriptor.CPPTYPE_STRING: "x", FieldDescriptor.CPPTYPE_MESSAGE: None}.get(path[-1].cpp_type, 1)
            yield path, [one] * limit.most, [one] * (limit.most + 1), limit.most
            if isinstance(limit.each, Text):
                yield path, ["x" * limit.each.most], ["x" * (limit.each.most + 1)], limit.each.most
        elif isinstance(limit, Text):
            yield path, "x" * limit.most, "x" * (limit.most + 1), limit.most
        elif isinstance(limit, Number):
            above = limit.most + 1 if limit.most + 1 > limit.most else inf  # of the largest number there is, one more is as much
            yield path, limit.most, above, limit.most if isinstance(limit.most, int) else None
            if limit.least:
                yield path, limit.least, limit.least - 1, limit.least
        elif isinstance(limit, Known):
            last = len(limit.enum.values) - 1
            yield path, last, last + 1, last
            yield path, 1, 0, last
        elif isinstance(limit, Sizes):
            yield path, b"x" * max(limit.allowed), b"x" * (max(limit.allowed) + 1), max(limit.allowed)


@dataclass(frozen=True)
class Bad:
    """One request at an edge of one of its fields."""

    what: str
    path: list[FieldDescriptor]
    raw: bytes

    @property
    def waits(self) -> bool:
        """Whether it may ask for what never comes."""
        return bool(self.path) and self.path[0].name in WAITING


WAITING = {"min_positions", "start_positions"}
"""Fields that make a call wait for a position, which may never come."""


ENDS = (0, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
"""Ends of all types: of a signed one, the last is -1; of a shorter one, the library takes the low bits."""
FLOATS = (0.0, -1.0, nan, inf, -inf, 1.7976931348623157e308)


def at_the_edges(limits: RequestLimits, kind: Descriptor) -> Iterator[Bad]:
    """Each field of a request, nested ones included, at its ends and beyond: lists, texts, bytes and numbers."""
    for path in paths(kind):
        name = ".".join(field.name for field in path)
        for what, content in _contents(limits.rows.get(row_name(path[-1])), path[-1]):
            raw = nested(path[:-1], content)
            yield Bad(f"{name} {what}", path, raw)
    yield Bad("the largest", [], largest(limits, kind))
    yield Bad("one byte more than the largest", [], largest(limits, kind, MAX_MESSAGE_BYTES + 1))


def _contents(limit: object, each: FieldDescriptor) -> Iterator[tuple[str, bytes]]:
    """What one field is given, as it stands in its message; a nested message is looked into by itself."""
    if isinstance(limit, Many):
        one = _one(each)
        yield "at its limit", one * limit.most
        yield "over its limit", one * (limit.most + 1)
    one_limit = limit.each if isinstance(limit, Many) else limit
    if each.type == F.TYPE_STRING:
        yield "with a zero byte", field(each.number, b"a\0b")
        yield "not UTF-8", field(each.number, b"a\xffb")
        yield "of a surrogate", field(each.number, b"\xed\xa0\x80")
    if each.type in {F.TYPE_STRING, F.TYPE_BYTES}:
        sizes = (one_limit.most, one_limit.most + 1) if isinstance(one_limit, Text) else (15, 16, 17)
        yield from ((f"of {size} bytes", field(each.number, b"x" * size)) for size in (*sizes, MAX_MESSAGE_BYTES - 64))
    elif each.type in FIXED or each.type not in {F.TYPE_MESSAGE, F.TYPE_GROUP}:
        yield from ((f"= {value}", raw) for value, raw in _numbers(each, one_limit))


def _numbers(each: FieldDescriptor, limit: object) -> Iterator[tuple[object, bytes]]:
    if each.cpp_type in {F.CPPTYPE_DOUBLE, F.CPPTYPE_FLOAT}:
        floats = [value for value in FLOATS if each.type == F.TYPE_DOUBLE or not inf > abs(value) > 3e38]
        for value in floats:
            yield (
                value,
                varint(each.number << 3 | (1 if each.type == F.TYPE_DOUBLE else 5))
                + pack("<d" if each.type == F.TYPE_DOUBLE else "<f", value),
            )
        return
    ends = {*ENDS}
    if isinstance(limit, Number):
        ends |= {int(limit.most), int(limit.most) + 1, limit.least, max(limit.least - 1, 0)}
    if isinstance(limit, Known):
        ends |= {len(limit.enum.values) - 1, len(limit.enum.values)}
    for value in sorted(ends):
        if each.type in FIXED:
            size = FIXED[each.type]
            if value < 256**size:
                yield value, varint(each.number << 3 | (1 if size == 8 else 5)) + value.to_bytes(size, "little")
        else:
            yield value, varint(each.number << 3) + varint(value)


def _one(each: FieldDescriptor) -> bytes:
    """The smallest element of a list that is not nothing."""
    if each.type in FIXED:
        size = FIXED[each.type]
        return varint(each.number << 3 | (1 if size == 8 else 5)) + b"\1" + bytes(size - 1)
    if each.type in {F.TYPE_MESSAGE, F.TYPE_STRING, F.TYPE_BYTES}:
        return field(each.number, b"" if each.type == F.TYPE_MESSAGE else b"x")
    return varint(each.number << 3) + b"\1"


def largest(limits: RequestLimits, kind: Descriptor, size: int = MAX_MESSAGE_BYTES) -> bytes:
    """A request that no limit refuses, of `size` bytes: every field full, as far as there is room, then bytes that no field has."""
    raw, _ = _full(limits, kind, size - 64, MAX_REQUEST_FIELDS - 8)
    for end in (b"", varint(1_001 << 3) + b"\1"):
        missing = size - len(raw) - len(end) - len(varint(1_000 << 3))
        length = next(length for length in range(missing, 0, -1) if length + len(varint(length)) <= missing)
        whole = raw + field(1_000, bytes(length)) + end
        if len(whole) == size:
            return whole
    raise AssertionError("no padding fits")


def _full(limits: RequestLimits, kind: Descriptor, room: int, fields: int) -> tuple[bytes, int]:
    """A message with all its fields, of `room` bytes and `fields` fields at most; and how many it has."""
    raw, used = b"", 0
    for each in kind.fields:
        is_later_choice = each.containing_oneof and each.containing_oneof.fields[0].number != each.number
        if is_later_choice or each.name in WAITING or stands_in_itself(each):
            continue
        limit = limits.rows.get(row_name(each))
        count = limit.most if isinstance(limit, Many) else 1
        one, inside = _most(limits, each, limit.each if isinstance(limit, Many) else limit, (room - len(raw), fields - used))
        fitting = min(count, (room - len(raw)) // max(len(one), 1), (fields - used) // (inside + 1))
        raw, used = raw + one * fitting, used + (inside + 1) * fitting
    return raw, used


def _most(limits: RequestLimits, each: FieldDescriptor, limit: object, left: tuple[int, int]) -> tuple[bytes, int]:
    """One field as full as it may be, and how many fields are inside of it."""
    room, fields = max(left[0] - 16, 0), left[1]
    if each.type == F.TYPE_MESSAGE:
        share = 8 if each.is_repeated else 1
        raw, used = _full(limits, each.message_type, room // share, fields // share)
        return field(each.number, raw), used
    if each.type in {F.TYPE_STRING, F.TYPE_BYTES}:
        size = limit.most if isinstance(limit, Text) else max(limit.allowed) if isinstance(limit, Sizes) else 16
        return field(each.number, b"x" * min(size, room)), 0
    most = limit.most if isinstance(limit, Number) else len(limit.enum.values) - 1 if isinstance(limit, Known) else ENDS[2]
    return next((raw for value, raw in _numbers(each, limit) if value == most), b""), 0
