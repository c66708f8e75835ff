"""Page tokens of every rpc: whatever stands in one, it is served or refused by its name."""

import base64
import itertools
import json
import math
import struct
from random import Random

import grpc
import pytest
import xxhash
from google.protobuf import descriptor_pool

from tests.hostile import ALL, SEED, chance
from treering.v1 import query_pb2 as pb
from treering.v1.log_pb2 import LogFilter, Position
from treering_query import limits
from treering_query.answers import context
from treering_query.patterns import compare_page
from treering_query.reading import list_pages
from treering_query.search import page_token
from treering_query.search.ranking import Tier
from treering_runtime.errors import ServiceError

pytestmark = pytest.mark.time_limit(3_600 if ALL else 120)

STRANGE = 5_000 if ALL else 200
"""How many tokens chance makes of each kind."""

U64, I64 = (0, 1, 2**63 - 1, 2**63, 2**64 - 1), (0, 1, -1, 2**63 - 1, -(2**63))
DOUBLES = (0.0, -0.0, 0.5, 1.0, 1.0000001, -1.0, 5e-324, 1e308, math.inf, -math.inf, math.nan)
"""Each kind of number at its ends."""

LIST = pb.ListPatternsRequest(page_size=1, order=pb.PATTERN_ORDER_COUNT, unit=pb.PATTERN_UNIT_PATTERN)
COMPARE = pb.ComparePatternsRequest(page_size=1, baseline=LogFilter(services=["svc1"]))
SEARCH = pb.SearchLogsRequest(text="user 5 logged in", page_size=1, mode=pb.SEARCH_MODE_KEYWORD)
CONTEXT = pb.GetLogContextRequest(position=Position(log_id=7, offset=30), before=40, after=40, all_services=True)
LOGS = pb.ListLogsRequest(page_size=1, order=pb.LOG_ORDER_NEWEST_FIRST)
NAMES = pb.ListFieldsRequest(page_size=7)
QUESTIONS = {
    "ListPatterns": (LIST, "page_token"),
    "ComparePatterns": (COMPARE, "page_token"),
    "SearchLogs": (SEARCH, "page_token"),
    "GetLogContext": (CONTEXT, "page_token"),
    "ListLogs": (LOGS, "page_token"),
    "ListFields": (NAMES, "page_token"),
}


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode()


def list_fields():
    found = xxhash.xxh3_64_intdigest(LIST.filter.SerializeToString(deterministic=True) + bytes([LIST.order, LIST.unit]))
    return [encoded(struct.pack("<QqQ", found, *rest)) for rest in itertools.product(I64, U64)]


def compare_fields():
    found = compare_page.fingerprint(COMPARE)
    return [encoded(struct.pack("<QdQQ", found, *rest)) for rest in itertools.product(DOUBLES, U64, U64)]


def search_fields():
    def body(last, *ids):
        packed = struct.pack("<QqQQBd", *last) + struct.pack(f"<{len(ids)}Q", *ids)
        return encoded(struct.pack("<Q", xxhash.xxh3_64_intdigest(page_token.fingerprint(SEARCH) + packed)) + packed)

    usual = (1, 1, 7, 1, 0, 0.5)
    ends = (U64, I64, U64, U64, range(0, 256, 15), DOUBLES)
    found = [body((*usual[:place], value, *usual[place + 1 :])) for place, values in enumerate(ends) for value in values]
    return [*found, *(body(usual, *range(count)) for count in (0, 1, 1_000, 1_001, 1_002))]


def context_fields():
    found = context.fingerprint(CONTEXT)
    return [encoded(struct.pack("<QQQ", found, *rest)) for rest in itertools.product(U64, U64)]


def _bounded(question, places):
    """Tokens of pages of some bound, with logs at their ends, in no order, or too few of them, and of some place."""
    found = list_pages.fingerprint(question)
    bounds = [(), (7, 100), (7, 0), *itertools.product(U64, U64), (7, 1, 7, 2), (8, 1, 7, 2), *(sum(zip(U64, U64, strict=True), ()),)]
    for bound, place in itertools.product(bounds, places):
        yield encoded(struct.pack(f"<QH{len(bound)}Q", found, len(bound) // 2, *bound) + place)
    yield from (encoded(struct.pack("<QH", found, count) + bytes(16 * count)) for count in (1, 2, 500, 65_535))


def log_fields():
    return _bounded(LOGS, [struct.pack("<QQQ", *place) for place in itertools.product(U64, repeat=3)][::5])


def name_fields():
    keys = (b"", b"ms", b"\xff", b"a\0b", b"k" * 5_000)
    return _bounded(NAMES, [struct.pack("<BQ", *place) + key for place in itertools.product((0, 7, 8, 255), U64) for key in keys][::3])


FIELDS = {
    "ListPatterns": list_fields,
    "ComparePatterns": compare_fields,
    "SearchLogs": search_fields,
    "GetLogContext": context_fields,
    "ListLogs": log_fields,
    "ListFields": name_fields,
}


def strange(genuine: str, random: Random):
    """Texts that are no token, from far away to next to one."""
    raw = base64.urlsafe_b64decode(genuine)
    yield from (
        "x",
        "é",
        "\0",
        "=",
        "====",
        "_" * 10_000,
        "+/+/",
        genuine + "=",
        genuine + "AAAA",
        genuine[:-1],
        genuine.upper(),
        " " + genuine,
    )
    yield from map(encoded, (raw[:cut] for cut in range(1, len(raw))))
    yield from map(encoded, (raw + bytes(more) for more in range(1, 10)))
    for content in ('["f", 1e999, 1]', '["f", "1", 1]', "[" * 100_000, '{"a": 1}', "[1, 2, 3]", json.dumps(["f", 10**400, 1])):
        yield encoded(content.encode())
    for _ in range(STRANGE):
        yield encoded(random.randbytes(random.choice([len(raw), random.randrange(1, 200)])))
        flipped = bytearray(raw)
        flipped[random.randrange(len(raw))] ^= 1 << random.randrange(8)
        yield encoded(flipped)


def test_every_token_of_the_contract_is_here():
    methods = descriptor_pool.Default().FindServiceByName("treering.v1.QueryService").methods
    found = {(method.name, field.name) for method in methods for field in method.input_type.fields if field.name.endswith("token")}
    assert found == {(name, field) for name, (_, field) in QUESTIONS.items()}


async def asked(channel, name, **changes):
    question, _ = QUESTIONS[name]
    request = type(question)()
    request.CopyFrom(question)
    for field, value in changes.items():
        setattr(request, field, value)
    kind = getattr(pb, f"{name}Response")
    return await channel.unary_unary(
        f"/treering.v1.QueryService/{name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=kind.FromString,
    )(request, timeout=10)


async def outcome(channel, name, **changes):
    try:
        await asked(channel, name, **changes)
    except grpc.aio.AioRpcError as error:
        return error
    return None


@pytest.mark.parametrize("name", QUESTIONS)
async def test_whatever_stands_in_a_token_is_served_or_refused_by_its_name(serving, fill, name, monkeypatch):
    monkeypatch.setattr(limits, "MAX_ANSWER_RECORD_BYTES", 3_000)  # a page of neighbours ends for want of room alone
    field = QUESTIONS[name][1]
    async with serving() as (store, client):
        await fill(store, 0, 60)
        await store.seal()
        await fill(store, 60, 100)
        async with grpc.aio.insecure_channel(client.endpoints.query) as channel:
            first = await asked(channel, name)
            genuine = getattr(first, f"next_{field}")
            assert await asked(channel, name, **{field: genuine}) != first
            refused = 0
            for token in (*strange(genuine, chance("tokens", name)), *FIELDS[name]()):
                error = await outcome(channel, name, **{field: token})
                assert error is None or error.code() is grpc.StatusCode.INVALID_ARGUMENT, (SEED, token[:80], error.details())
                assert error is None or error.details().startswith(field), error.details()
                refused += error is not None
            assert refused > 200


IMPOSSIBLE = [(-1, 0, 0.5), (2**63 - 1, 0, 0.5), (1, 0, math.nan), (1, 0, math.inf), (1, 0, 1.5), (1, 9, 0.5)]
"""Time, tier and fit."""


@pytest.mark.parametrize(("time", "tier", "fit"), IMPOSSIBLE)
def test_a_page_token_of_an_impossible_record_is_refused(time, tier, fit):
    packed = struct.pack("<QqQQBd", 1, time, 7, 1, tier, fit)
    forged = encoded(struct.pack("<Q", xxhash.xxh3_64_intdigest(b"q" + packed)) + packed)
    with pytest.raises(ServiceError, match="page_token"):
        page_token.shown(forged, b"q")


def test_a_page_token_says_what_it_was_made_of():
    last = page_token.LastRecord(2**64 - 1, 5, 7, 2**64 - 1, Tier.REST, 1.0)
    for shown in (
        page_token.ShownPatterns(),
        page_token.ShownPatterns((1, 2**64 - 1)),
        page_token.ShownPatterns((3,), last),
        page_token.ShownPatterns(tuple(range(1_000))),
    ):
        assert page_token.shown(shown.token(b"q"), b"q") == shown


def test_a_page_token_of_more_patterns_than_pages_show_is_refused():
    packed = struct.pack("<QqQQBd1001Q", 0, 0, 0, 0, 0, 0.0, *range(1_001))
    forged = encoded(struct.pack("<Q", xxhash.xxh3_64_intdigest(b"q" + packed)) + packed)
    with pytest.raises(ServiceError, match="page_token"):
        page_token.shown(forged, b"q")
