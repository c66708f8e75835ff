"""Records that Protocol Buffers allow and nobody writes on purpose, and bytes that are no records, from a seed.

`odd_record(random)` is one message `LogRecord` as bytes. Most of them ingest takes; what it must refuse comes from `broken_record`.
"""

import struct
from collections.abc import Callable, Mapping
from random import Random
from types import MappingProxyType

from treering.v1.ingest_pb2 import UploadLogsRequest
from treering.v1.log_pb2 import LogRecord

VARINT, FIXED64, BYTES, GROUP, END, FIXED32 = range(6)
TIME, SEVERITY, SERVICE, ENVIRONMENT, MESSAGE, ATTRIBUTES, TRACE_ID, SPAN_ID = range(1, 9)
MIB = 1024 * 1024

TEXTS = (
    *("", "a", "k", "ms", "key with spaces", "\0", "a\0b", "\x01", "\x02", "\x01\x02\0", "\n", "a\nb", "\r\n", "\t", " ", "\u2028"),
    *(
        "".join(map(chr, range(1, 32))),
        "\x7f\x80\x9f",
        "\x1b[31mred\x1b[0m",
        "\x1b[",
        "\ufeff",
        "\uffff",
        "\ufdd0",
        "\U0010ffff",
        "\U0001f525",
    ),
    *(
        "\u0301",
        "e\u0301",
        "é",
        "\u202edrawkcab",
        "שלום",
        "磁盘 7",
        "'",
        '"',
        "\\",
        "'; drop table logs; --",
        "%",
        "_",
        "${x}",
        "{}",
        "[]",
        "null",
    ),
    *(
        "NaN",
        "inf",
        "-0",
        "1e400",
        "9" * 400,
        "true",
        "<*>",
        "service",
        "treering.severity",
        "treering.time_unix_nano",
        "treering.trace_id",
    ),
    *("treering.duplicate.", "treering.duplicate.a", "treering.duplicate.treering.duplicate.a", "A", "\u212a", "ß", "x" * 300, "é" * 200),
)
TIMES = (0, 1, 999, 10**9, 2**31, 2**53 + 1, 2**62, 2**63 - 2, 2**63 - 1, 2**63, 2**64 - 1)
SEVERITIES = (0, 1, 9, 24, 25, 255, 256, 2**31 - 1, 2**31, 2**32 - 1, 2**32 + 9, 2**63, 2**64 - 1)


def varint(value: int, size: int = 0) -> bytes:
    """A number on the wire, in at least `size` bytes."""
    groups = []
    while value or not groups:
        groups.append(value & 127)
        value >>= 7
    groups += [0] * (size - len(groups))
    return bytes([*(group | 128 for group in groups[:-1]), groups[-1]])


def tag(number: int, kind: int, size: int = 0) -> bytes:
    return varint(number << 3 | kind, size)


def field(number: int, data: bytes | str, size: int = 0) -> bytes:
    """A field that has a length; its numbers take at least `size` bytes."""
    raw = data.encode() if isinstance(data, str) else data
    return tag(number, BYTES, min(size, 5)) + varint(len(raw), min(size, 5)) + raw


def entry(key: str | None, value: str | None, extra: bytes = b"") -> bytes:
    return field(ATTRIBUTES, (b"" if key is None else field(1, key)) + (b"" if value is None else field(2, value)) + extra)


def unknown(random: Random, depth: int = 0) -> bytes:
    """A field of a newer sender."""
    number = random.choice((9, 15, 16, 2_047, 2**29 - 1))
    match random.randrange(5):
        case 0:
            return tag(number, VARINT) + varint(random.getrandbits(64), random.choice((0, 10)))
        case 1:
            return tag(number, FIXED64) + random.randbytes(8)
        case 2:
            return tag(number, FIXED32) + random.randbytes(4)
        case 3:
            return field(number, random.randbytes(random.choice((0, 1, 20, 2_000))))
        case _:
            inner = unknown(random, depth + 1) if depth < 20 else b""
            return tag(number, GROUP) + inner + tag(number, END)


def duplicates(random: Random) -> bytes:
    keys = [random.choice(TEXTS) for _ in range(random.choice((1, 1, 2, 5)))]
    return b"".join(entry(random.choice(keys), random.choice(TEXTS)) for _ in range(random.choice((2, 3, 8, 40))))


def duplicates_of_duplicates(random: Random) -> bytes:
    keys = ["a", "treering.duplicate.a", "treering.duplicate.treering.duplicate.a"]
    return b"".join(entry(random.choice(keys), random.choice("123")) for _ in range(random.choice((3, 6, 12))))


def halves_of_entries(random: Random) -> bytes:
    halves = (lambda: random.choice((None, random.choice(TEXTS)))) if random.random() < 0.7 else (lambda: None)
    return b"".join(entry(halves(), halves()) for _ in range(random.choice((1, 2, 4))))  # type: ignore[no-untyped-call]


def turned_entries(random: Random) -> bytes:
    parts = [field(random.choice((1, 2)), random.choice(TEXTS)) for _ in range(random.choice((1, 2, 3, 5)))]
    return field(ATTRIBUTES, b"".join(parts))


def strangers_in_entries(random: Random) -> bytes:
    wrong = tag(random.choice((1, 2)), VARINT) + varint(7)
    return b"".join(entry(random.choice(TEXTS), "v", random.choice((unknown(random), wrong))) for _ in range(random.choice((1, 2))))


def strangers(random: Random) -> bytes:
    return b"".join(unknown(random) for _ in range(random.choice((1, 2, 9))))


def large_stranger(random: Random) -> bytes:
    return field(99, random.randbytes(random.choice((10_000, 100_000))))


def deep_groups(random: Random) -> bytes:
    depth = random.choice((2, 50, 90))
    return tag(20, GROUP) * depth + tag(20, END) * depth


def defaults(random: Random) -> bytes:
    empty = [field(number, b"") for number in (SERVICE, ENVIRONMENT, TRACE_ID, SPAN_ID)]
    chosen = [*empty, tag(TIME, FIXED64) + bytes(8), tag(SEVERITY, VARINT) + b"\0", entry("", "")]
    random.shuffle(chosen)
    return b"".join(chosen)


def repeated_fields(random: Random) -> bytes:
    texts = [field(random.choice((SERVICE, ENVIRONMENT)), random.choice(TEXTS)) for _ in range(4)]
    ids = [field(random.choice((TRACE_ID, SPAN_ID)), random.randbytes(random.choice((0, 7, 8, 16)))) for _ in range(4)]
    numbers = [times(random), severities(random), times(random), severities(random)]
    chosen = [*texts, *ids, *numbers]
    random.shuffle(chosen)
    return b"".join(chosen)


def wrong_kinds(random: Random) -> bytes:
    number = random.randrange(1, 9)
    kinds = {VARINT: varint(5), FIXED64: bytes(8), FIXED32: bytes(4), BYTES: varint(3) + b"\x09\x09\x11"}
    right = {TIME: FIXED64, SEVERITY: VARINT}.get(number, BYTES)
    kind = random.choice([kind for kind in kinds if kind != right])
    return tag(number, kind) + kinds[kind]


def long_numbers(random: Random) -> bytes:
    size = random.randrange(2, 6)
    return field(SERVICE, random.choice(TEXTS), size) + field(ATTRIBUTES, field(1, "k", size) + field(2, random.choice(TEXTS), size), size)


def severities(random: Random) -> bytes:
    value = random.choice(SEVERITIES)
    return tag(SEVERITY, VARINT) + varint(value, random.choice((0, 10)))


def times(random: Random) -> bytes:
    return tag(TIME, FIXED64) + struct.pack("<Q", random.choice((*TIMES, random.getrandbits(64))))


def ids(random: Random) -> bytes:
    lengths = (0, 1, 7, 8, 9, 15, 16, 17, 32, 1_000)
    return field(TRACE_ID, random.randbytes(random.choice(lengths))) + field(SPAN_ID, random.randbytes(random.choice(lengths)))


def own_names(random: Random) -> bytes:
    names = ("treering.severity", "treering.trace_id", "treering.span_id", "treering.time_unix_nano")
    return b"".join(entry(name, "the sender's") for name in random.sample(names, 2)) + severities(random) + times(random) + ids(random)


def texts_everywhere(random: Random) -> bytes:
    names = b"".join(field(number, random.choice(TEXTS)) for number in (SERVICE, ENVIRONMENT))
    return names + b"".join(entry(random.choice(TEXTS), random.choice(TEXTS)) for _ in range(3))


def many_attributes(random: Random) -> bytes:
    return b"".join(entry(f"{number}", f"{number}") for number in range(random.choice((100, 1_000))))


def long_names(random: Random) -> bytes:
    letter = random.choice(("x", "é", "磁", "🔥", "\0", "e\u0301"))
    return b"".join(
        field(number, letter * random.choice((63, 64, 85, 86, 127, 128, 255, 256, 257, 5_000))) for number in (SERVICE, ENVIRONMENT)
    )


def long_keys(random: Random) -> bytes:
    letter = random.choice(("x", "é", "磁", "🔥", "e\u0301"))
    keys = [letter * random.choice((64, 85, 86, 128, 129, 256, 257, 300)) + random.choice("ab") for _ in range(random.choice((1, 3)))]
    own = entry("treering.attribute_key", "mine") if random.random() < 0.3 else b""
    return own + b"".join(entry(key, random.choice(TEXTS)) for key in keys)


def new_names(random: Random) -> bytes:
    return field(SERVICE, f"service {random.getrandbits(64)}") + field(ENVIRONMENT, f"environment {random.getrandbits(64)}")


KINDS: tuple[Callable[[Random], bytes], ...] = (
    *(duplicates, duplicates_of_duplicates, halves_of_entries, turned_entries, strangers_in_entries, strangers, large_stranger),
    *(deep_groups, defaults, repeated_fields, wrong_kinds, long_numbers, severities, times, ids, own_names, texts_everywhere),
    *(many_attributes, long_names, long_keys, new_names),
)


def message(random: Random) -> bytes:
    """The one field that must not be empty, perhaps more than once; the last one counts."""
    written = random.choice([text for text in TEXTS if text])
    before = field(MESSAGE, random.choice(TEXTS)) if random.random() < 0.1 else b""
    return before + field(MESSAGE, f"{written} {random.choice(TEXTS)}")


def odd_record(random: Random) -> bytes:
    """One that ingest takes."""
    parts = [kind(random) for kind in random.sample(KINDS, random.choice((1, 1, 2, 3)))]
    parts.insert(random.randrange(len(parts) + 1), message(random))
    return b"".join(parts)


_HELLO = field(MESSAGE, "hello")
_ROOM = MIB - 200

GIANTS: dict[str, Callable[[], bytes]] = {
    "attributes": lambda: _HELLO + b"".join(entry(f"{number:x}", "") for number in range(80_000)),
    "values of one key": lambda: _HELLO + b"".join(entry("k", f"{number:x}") for number in range(80_000)),
    "one entry again and again": lambda: _HELLO + entry("k", "") * 130_000,
    "key": lambda: _HELLO + entry("k" * _ROOM, "v"),
    "key twice": lambda: _HELLO + entry("k" * (_ROOM // 2), "1") + entry("k" * (_ROOM // 2), "2"),
    "value": lambda: _HELLO + entry("k", "\0" * _ROOM),
    "service": lambda: _HELLO + field(SERVICE, "s" * _ROOM),
    "environment": lambda: _HELLO + field(ENVIRONMENT, "e" * _ROOM),
    "trace id": lambda: _HELLO + field(TRACE_ID, b"t" * _ROOM),
    "unknown field": lambda: _HELLO + field(99, b"?" * _ROOM),
    "message again and again": lambda: _HELLO * 100_000,
    "message of control characters": lambda: field(MESSAGE, "\x01" * _ROOM),
    "message of emoji": lambda: field(MESSAGE, "🔥" * (_ROOM // 4)),
}
"""Records as large as they may be, each in another way."""

NO_TEXTS = (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xed\xb0\x80", b"\xed\xa0\xbd\xed\xb4\xa5", b"\xc0\x80", b"\xf4\x90\x80\x80", b"ok \x80")


def broken_record(random: Random) -> bytes:
    """One that is no message: its batch is refused."""
    no_text = random.choice(NO_TEXTS)
    hello = field(MESSAGE, "hello")
    return random.choice(
        (
            hello + field(random.choice((SERVICE, ENVIRONMENT)), no_text),
            field(MESSAGE, no_text),
            hello + field(ATTRIBUTES, field(1, no_text) + field(2, "v")),
            hello + field(ATTRIBUTES, field(1, "k") + field(2, no_text)),
            hello + tag(20, END),
            hello + tag(20, GROUP),
            hello + tag(20, GROUP) + tag(21, END),
            hello + tag(20, GROUP) * 200 + tag(20, END) * 200,
            hello + b"\x02\x01x",
            hello + tag(20, random.choice((6, 7))),
            hello + tag(MESSAGE, BYTES) + varint(2**31) + b"short",
            hello + tag(SEVERITY, VARINT) + b"\x80" * 11,
            hello + b"\xaa\x80\x80\x80\x80\x01\x05hello",
        )
    )


def unreadable_record() -> bytes:
    """One that ingest takes and no sink can read: the number of a field inside an unknown group is 0."""
    return field(MESSAGE, "hello") + tag(20, GROUP) + b"\x05\x00\x00\x00\x00" + tag(20, END)


HEALTHY = "healthy"
"""The service of healthy records, and of no other."""


def healthy_record(number: int) -> bytes:
    """One that everybody writes, and that is told from all others by its number."""
    return LogRecord(
        time_unix_nano=1_700_000_000_000_000_000 + number,
        severity=9,
        service=HEALTHY,
        environment="prod",
        message=f"order {number} was paid",
        attributes={"a": f"{number}", "ms": f"{number % 7}"},
        trace_id=bytes(16),
    ).SerializeToString()


def batch(*records: bytes, resource: Mapping[str, str] = MappingProxyType({})) -> bytes:
    """A message `LogBatch`."""
    # In no order: nothing may rely on one.
    shared = [field(5, field(1, key) + field(2, value)) for key, value in resource.items()]
    return b"".join([*shared[:1], *(field(3, record) for record in records), *shared[1:]])


def upload(batch: bytes, producer_id: str = "", sequence: int = 0) -> bytes:
    """A message `UploadLogsRequest`."""
    return UploadLogsRequest(producer_id=producer_id, sequence=sequence).SerializeToString() + field(3, batch)
