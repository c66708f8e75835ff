"""What a tree of conditions may be: what is refused, by which path, with which remedy, and how soon."""

import time
from collections.abc import AsyncIterator, Callable
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.hostile_requests import deep, field
from tests.query.conftest import Asking, Fill, MakeFrame, MakeRecord, Serving
from treering import all_of, any_of, log_filter, none_of
from treering.errors import InvalidArgumentError, UnsupportedError
from treering.v1 import query_pb2 as pb
from treering.v1.error_pb2 import ErrorReason
from treering.v1.log_pb2 import AttributeFilter, LogFilter, NumberRange, OffsetRange, Position, TextCondition
from treering_query.meaning.meant import Meant
from treering_query.reading import filters
from treering_query.reading.filters.expressions import program_steps
from treering_query.request_limits import LIMITS
from treering_query.streams import tail, watch
from treering_query.values.predicate import END_OF_TIME
from treering_query.values.segment import Segment
from treering_runtime.boundary import _reading
from treering_runtime.errors import ServiceError
from treering_runtime.request_limits import RequestLimits

REQUEST = pb.AggregateLogsRequest.DESCRIPTOR
BY_NAME = LogFilter.DESCRIPTOR.fields_by_name
PATIENCE_S = 0.1
"""How long the loop may be held by a tree that is refused, seconds of its thread."""


class Handler:
    request_deserializer = pb.AggregateLogsRequest.FromString
    request_streaming = False


def refused(raw: bytes) -> ServiceError:
    """What becomes of a request on its way to the handler and in its plan."""
    read = _reading(Handler, "treering.v1.QueryService/AggregateLogs", RequestLimits(LIMITS))
    started = time.thread_time()
    with pytest.raises(ServiceError) as caught:
        filters.where(read(raw).filter)
    assert time.thread_time() - started < PATIENCE_S
    assert caught.value.reason == ErrorReason.ERROR_REASON_INVALID_FIELD
    return caught.value


def request(chosen: LogFilter) -> bytes:
    return pb.AggregateLogsRequest(filter=chosen).SerializeToString()


@pytest.mark.parametrize("levels", [33, 98, 101, 1_000, 20_000])
@pytest.mark.parametrize("name", ["all_of", "any_of", "none_of"])
def test_a_tree_that_is_too_deep_is_refused_by_its_path_however_deep(name: str, levels: int) -> None:
    error = refused(field(1, deep(BY_NAME[name], levels)))
    assert error.metadata == {"field": f"filter.{'.'.join([f'{name}[0]'] * 33)}", "limit": "32"}
    assert "more than 32 levels deep; nest less" in error.message


def test_a_tree_of_32_levels_is_served() -> None:
    chosen = log_filter(min_severity="error")
    for _ in range(32):
        chosen = none_of(chosen)
    RequestLimits(LIMITS).check(pb.AggregateLogsRequest(filter=chosen))
    assert filters.where(chosen).sql.count("not ") == 32


@pytest.mark.parametrize(
    ("chosen", "path", "limit"),
    [
        (any_of(*[LogFilter()] * 10_000), "filter.any_of", "1000"),
        (any_of(*[all_of(*[LogFilter()] * 100)] * 100), "filter.any_of[9].all_of[0]", "1000"),
        (all_of(LogFilter(), none_of(*[LogFilter()] * 999)), "filter.all_of[1].none_of[0]", "1000"),
        (any_of(*[LogFilter(attributes=[AttributeFilter(key="k")] * 11)] * 910), "filter.any_of[909].attributes", "10000"),
        (any_of(*[LogFilter(message=[TextCondition(contains="k")] * 51)] * 197), "filter.any_of[196].message", "10000"),
        (any_of(*[LogFilter(pattern_ids=range(1, 10_001))] * 7), "filter.any_of[6].pattern_ids", "65536"),
        (any_of(*[LogFilter(pattern_ids=range(1, 102))] * 41), "filter.any_of[40].pattern_ids", "40"),
        (any_of(*[LogFilter(template_ids=[7])] * 41), "filter.any_of[40].template_ids", "40"),
        (any_of(*[LogFilter(message=[TextCondition(matches="k")] * 51)] * 2), "filter.any_of[1].message[49].matches", "100"),
        (any_of(*[LogFilter(message=[TextCondition(phrase="a b")] * 51)] * 1), "filter.any_of[0].message[50].phrase", "100"),
        (LogFilter(message=[TextCondition(matches="(\\pL{4}|x){100}")]), "filter.message[0].matches", "10000"),
        (LogFilter(message=[TextCondition(matches="x{900}")] * 12), "filter.message[11].matches", "10000"),
        (LogFilter(message=[TextCondition(phrase="x " * 33)]), "filter.message[0].phrase", "32"),
        (LogFilter(message=[TextCondition(matches="x" * 1_001)]), "filter.message[0].matches", "1000"),
    ],
)
def test_a_tree_that_is_too_large_is_refused_by_its_path_at_once(chosen: LogFilter, path: str, limit: str) -> None:
    error = refused(request(chosen))
    assert (error.metadata["field"], error.metadata["limit"]) == (path, limit)
    assert error.message.startswith(f"{path}: ")


def test_one_filter_whose_lists_are_all_full_is_served() -> None:
    chosen = LogFilter(
        services=[f"s{number}" for number in range(1_000)],
        environments=[f"e{number}" for number in range(1_000)],
        attributes=[AttributeFilter(key="k", values=[f"v{number}" for number in range(1_000)])] * 32,
        positions=[Position(log_id=7, offset=number) for number in range(10_000)],
        pattern_ids=range(10_000),
        template_ids=range(10_000),
        ranges=[OffsetRange(log_id=7, end_offset_exclusive=5)] * 1_000,
    )
    RequestLimits(LIMITS).check(pb.AggregateLogsRequest(filter=chosen))
    assert filters.where(chosen).sql


@pytest.mark.parametrize(("plan", "kind"), [(tail.plan, pb.TailLogsRequest), (watch.plan, pb.WatchPatternsRequest)])
def test_streams_take_smaller_trees(
    plan: Callable[[pb.TailLogsRequest], tail.TailPlan] | Callable[[pb.WatchPatternsRequest], watch.WatchPlan],
    kind: type[pb.TailLogsRequest] | type[pb.WatchPatternsRequest],
) -> None:
    chosen = any_of(*[LogFilter(message=[TextCondition(contains="k")] * 50)] * 20)
    assert plan(kind(filter=chosen))
    chosen.any_of.add(min_severity=9)
    with pytest.raises(ServiceError, match=r"^filter\.any_of\[20\]\.min_severity: more than 1000 conditions") as caught:
        plan(kind(filter=chosen))
    assert caught.value.metadata["limit"] == "1000"


@pytest.mark.parametrize(
    ("node", "path", "words"),
    [
        (LogFilter(message=[TextCondition()]), "message[0]", "states no condition; set contains, word"),
        (LogFilter(message=[TextCondition(word="two words")]), "message[0].word", "not one word"),
        (LogFilter(message=[TextCondition(word="")]), "message[0].word", "not one word"),
        (LogFilter(message=[TextCondition(phrase="--")]), "message[0].phrase", "no letter or digit"),
        (LogFilter(message=[TextCondition(matches="a(b")]), "message[0].matches", "no regular expression of RE2: missing ): a(b"),
        (LogFilter(message=[TextCondition(matches=r"(a)\1")]), "message[0].matches", r"invalid escape sequence: \1"),
        (LogFilter(message=[TextCondition(matches="(?=a)")]), "message[0].matches", "invalid perl operator: (?="),
        (LogFilter(message=[TextCondition(matches="(?<n>a)")]), "message[0].matches", "invalid perl operator: (?<"),
        (LogFilter(message=[TextCondition(matches="a**")]), "message[0].matches", "bad repetition operator: **"),
        (LogFilter(message=[TextCondition(matches="(a{100}){100}")]), "message[0].matches", "steps"),
        (LogFilter(message=[TextCondition(matches="(x{40}){40}")]), "message[0].matches", "invalid repetition size: {40}"),
        (LogFilter(attributes=[AttributeFilter()]), "attributes[0].key", "empty; name the attribute"),
        (LogFilter(attributes=[AttributeFilter(key="k", text=[TextCondition(matches="[")])]), "attributes[0].text[0].matches", "missing ]"),
        (LogFilter(attributes=[AttributeFilter(key="k", number=NumberRange(above=nan))]), "attributes[0].number.above", "NaN"),
        (LogFilter(attributes=[AttributeFilter(key="k", number=NumberRange(at_most=nan))]), "attributes[0].number.at_most", "NaN"),
        (
            LogFilter(attributes=[AttributeFilter(key="k", number=NumberRange(at_least=2, at_most=1))]),
            "attributes[0].number.at_most",
            "swap",
        ),
        (LogFilter(attributes=[AttributeFilter(key="k", number=NumberRange(above=1, at_most=1))]), "attributes[0].number.at_most", "swap"),
        (LogFilter(ranges=[OffsetRange(log_id=1, first_offset=5, end_offset_exclusive=5)]), "ranges[0].end_offset_exclusive", "exclusive"),
        (LogFilter(start_time_unix_nano=2, end_time_unix_nano=2), "end_time_unix_nano", "not after start_time_unix_nano"),
        (LogFilter(arrival_start_time_unix_nano=2, arrival_end_time_unix_nano=1), "arrival_end_time_unix_nano", "not after"),
        (LogFilter(min_severity=17, max_severity=9), "max_severity", "swap them"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_path_wherever_it_stands(node: LogFilter, path: str, words: str) -> None:
    assert refused(request(node)).metadata["field"] == f"filter.{path}"
    error = refused(request(any_of(LogFilter(), none_of(node))))
    assert error.metadata["field"] == f"filter.any_of[1].none_of[0].{path}"
    assert words in error.message


def test_an_unknown_severity_inside_a_tree_is_refused_by_its_path() -> None:
    error = refused(field(1, field(13, field(15, b"\x18\x63"))))
    assert error.metadata["field"] == "filter.all_of[0].none_of[0].min_severity"


def test_the_baseline_of_a_comparison_is_named() -> None:
    with pytest.raises(ServiceError, match=r"^baseline\.any_of\[0\]\.message\[0\]\.matches: no regular expression"):
        filters.where(any_of(log_filter(matches="(")), path="baseline")


@pytest.mark.parametrize(
    ("expression", "least", "most"),
    [
        ("abc", 3, 3),
        ("a{100}", 100, 100),
        ("(ab|cd){10}", 60, 90),
        ("(a{10}){10}", 100, 200),
        ("a{3,}", 4, 4),
        ("a{2,5}", 5, 5),
        ("[a-z]+", 3, 3),
        ("[^a]{10}", 40, 40),
        (r"\pL\p{Greek}", 1_200, 1_200),
        (r"[\pL\pN]{2}", 2_400, 2_400),
        (r"\Q{100}\E", 1, 20),
        ("a{0}", 1, 1),
        (")){9}", 1, 20),
        ("((((", 0, 10),
        ("{5}", 0, 20),
        ("", 0, 0),
    ],
)
def test_the_size_of_a_program_is_estimated_from_its_text(expression: str, least: int, most: int) -> None:
    assert least <= program_steps(expression) <= most


MEANT = Meant(("x",), np.array([1, 2], np.uint64), (np.array([1, 0], np.float32),))


@pytest.mark.parametrize(
    ("chosen", "services", "without", "only"),
    [
        (log_filter(), None, set(), True),
        (log_filter(services=["a"]), {"a"}, set(), True),
        (any_of(log_filter(services=["a"]), log_filter(services=["b"])), {"a", "b"}, set(), True),
        (all_of(log_filter(services=["a", "b"]), log_filter(services=["b", "c"])), {"b"}, set(), True),
        (all_of(log_filter(services=["a"]), log_filter(services=["b"])), set(), set(), True),
        (any_of(log_filter(services=["a"]), log_filter()), None, set(), True),
        (any_of(log_filter(services=["a"]), log_filter(min_severity=9)), None, set(), False),
        (any_of(log_filter(services=["a"]), log_filter(services=["b"], min_severity=9)), {"a", "b"}, set(), False),
        (none_of(log_filter(services=["a"]), log_filter(services=["b"])), None, {"a", "b"}, False),
        (none_of(log_filter(services=["a"], min_severity=9)), None, set(), False),
        (none_of(log_filter()), None, set(), False),
        (none_of(none_of(log_filter(services=["a"]))), None, set(), False),
        (none_of(any_of(log_filter(services=["a"]), log_filter(services=["b"]))), None, {"a", "b"}, False),
    ],
)
def test_only_services_that_must_be_are_said_to_be(chosen: LogFilter, services: set[str] | None, without: set[str], only: bool) -> None:
    predicate = filters.where(chosen)
    assert (predicate.services, predicate.without_services, predicate.services_only) == (services, without, only)


def test_times_and_patterns_of_alternatives_are_joined_and_those_of_what_is_excluded_are_not() -> None:
    early = log_filter(since=10, until=20, arrived_since=5, pattern_ids=[1, 2])
    late = log_filter(since=30, until=40, arrived_until=9, about="x")
    either = filters.where(any_of(early, late), MEANT)
    assert (either.start_time, either.end_time) == (10, 40)
    assert (either.arrival_start_time, either.arrival_end_time) == (0, END_OF_TIME)
    assert either.patterns.tolist() == [1, 2]
    both = filters.where(all_of(early, late, log_filter(since=12)), MEANT)
    assert (both.start_time, both.end_time, both.patterns.tolist()) == (30, 20, [1])
    none = filters.where(none_of(early), MEANT)
    assert (none.start_time, none.end_time, none.patterns) == (0, END_OF_TIME, None)


def test_segments_are_passed_over_by_the_time_of_arrival(tmp_path: Path) -> None:
    segment = Segment(1, tmp_path, 1, 1, 5, 6, 100, 200, (), frozenset({"a"}), sealed_time=0)
    for chosen, may in [
        (log_filter(arrived_since=201), False),
        (log_filter(arrived_since=200), True),
        (log_filter(arrived_until=100), False),
        (log_filter(arrived_until=101), True),
        (none_of(log_filter(arrived_since=201)), True),
        (any_of(log_filter(arrived_since=201), log_filter(services=["a"])), True),
        (any_of(log_filter(arrived_since=201), log_filter(until=5)), True),
    ]:
        assert segment.may_match(filters.where(chosen)) == may, chosen


@pytest.mark.parametrize("condition", ["ms=5", "ms>=0", "ms*=5", "ms~=5", "ms"])
async def test_a_condition_on_a_missing_attribute_is_false_and_its_opposite_true(
    serving: Serving, frame: MakeFrame, record: MakeRecord, condition: str
) -> None:
    async def count(client: Asking, chosen: LogFilter) -> int:
        found = await client.aggregate_logs(filter=chosen)
        return int(found.rows[0].values[0].value) if found.rows else 0

    async with serving() as (store, client):
        await store.open_log(7, 0)
        some = [record(5), record(5, attributes={}), record(5, attributes={"other": "5"})]
        await store.deliver(7, [frame(0, some)], len(some))
        wanted = log_filter(where=condition)
        assert await count(client, wanted) == 1
        assert await count(client, none_of(wanted)) == 2
        assert await count(client, none_of(none_of(wanted))) == 1
        assert await count(client, any_of(wanted, none_of(wanted))) == 3


async def test_meaning_inside_a_tree_is_refused_by_its_path_on_streams_and_in_too_many_texts(serving: Serving, fill: Fill) -> None:
    async with serving() as (store, client):
        await fill(store, 0, 10)
        tree = none_of(log_filter(about="disks"))
        with pytest.raises(UnsupportedError, match=r"filter\.none_of\[0\]\.about is not served on streams"):
            await anext(aiter(client.tail_logs(filter=tree)))
        with pytest.raises(UnsupportedError, match=r"filter\.none_of\[0\]\.about"):
            await anext(aiter(client.watch_patterns(filter=tree)))
        with pytest.raises(InvalidArgumentError, match=r"filter\.any_of\[16\]\.about: more than 16 different texts"):
            await client.aggregate_logs(filter=any_of(*(log_filter(about=f"text {number}") for number in range(17))))


async def test_a_watch_does_not_announce_a_pattern_of_an_excluded_service_whose_first_record_is_gone(serving: Serving, fill: Fill) -> None:
    async with serving() as (store, _):
        await fill(store, 0, 10)
        predicate = filters.where(none_of(log_filter(services=["svc1"])))
        from treering_query.streams.watch_news import Announcement, _is_wanted  # noqa: PLC0415

        wanted = [_is_wanted(Announcement(7, 0, pb.Pattern(service=name), None), predicate, frozenset()) for name in ("svc1", "svc2")]
        assert wanted == [False, True]


async def test_templates_select_by_the_moment_that_is_asked(serving: Serving, frame: MakeFrame) -> None:
    from treering.v1.log_pb2 import LogRecord  # noqa: PLC0415

    def sessions(*names: str) -> list[Any]:
        return [LogRecord(service="login", message=f"session opened for user {name} today") for name in names]

    async def count(client: Asking, *template_ids: int) -> float:
        found = await client.aggregate_logs(filter=log_filter(template_ids=template_ids))
        return found.rows[0].values[0].value if found.rows else 0

    async with serving() as (store, client):
        await store.open_log(7, 0)
        await store.deliver(7, [frame(0, sessions("ann", "bob"))], 2)
        await store.templates.settled()
        ids = [pattern.template_id for pattern in (await client.list_patterns()).patterns]
        assert len(set(ids)) == 2
        assert [await count(client, template_id) for template_id in ids] == [1, 1]
        await store.deliver(7, [frame(2, sessions("cyd", "dan"))], 4)
        await store.templates.settled()
        # the ids of before lead to the template that has joined them
        assert [await count(client, template_id) for template_id in ids] == [4, 4]
        assert await count(client, 12345) == 0
        kept = [stored async for stored in _exported(client, log_filter(template_ids=ids[:1]))]
        assert sum(kept) == 4


async def _exported(client: Asking, chosen: LogFilter) -> AsyncIterator[int]:
    async for part in client.export_logs(filter=chosen):
        if part.HasField("summary"):
            yield part.summary.row_count
