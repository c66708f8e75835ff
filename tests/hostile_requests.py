"""Requests that a stranger might send: fields at their ends and beyond, too long lists, texts that are none, bytes that are no message."""

from random import Random

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from treering_runtime.request_limits import Known, Many, Number, RequestLimits, Text, row_name

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


def varint(number: int) -> bytes:
    found = b""
    while number > 127:
        found, number = found + bytes([number & 127 | 128]), number >> 7
    return found + bytes([number])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def hostile_request(random: Random, limits: RequestLimits, kind: Descriptor) -> bytes:
    """One request: some fields as they should be, some not; now and then cut off."""
    raw = b"".join(_field(random, limits, each) for each in kind.fields if random.random() < 0.4)
    return raw[: random.randrange(len(raw))] if raw and random.random() < 0.05 else raw


def _field(random: Random, limits: RequestLimits, each: FieldDescriptor) -> bytes:
    limit = limits.rows.get(row_name(each))
    count = 1
    if isinstance(limit, Many):
        count = random.choice((1, 1, 2, min(limit.most, 1_000), limit.most + 1 if limit.most < 20_000 else 2))
    one = limit.each if isinstance(limit, Many) else limit
    values = [_value(random, limits, each, one) for _ in range(min(count, 3))]
    return b"".join(values) + values[0] * max(0, min(count - 3, REPEATED_BYTES // max(len(values[0]), 1)))


def _value(random: Random, limits: RequestLimits, each: FieldDescriptor, limit: object) -> bytes:
    if each.type == F.TYPE_MESSAGE:
        return field(each.number, hostile_request(random, limits, each.message_type))
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
