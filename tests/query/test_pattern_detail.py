"""GetPattern on a real store: variables, members, records over time."""

from collections.abc import AsyncIterator
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hostile_requests import within_limits
from tests.query.conftest import MakeFrame, OpenStore
from treering.v1 import query_pb2 as pb
from treering.v1.error_pb2 import ErrorReason
from treering.v1.log_pb2 import LogFilter, LogRecord
from treering_query import limits
from treering_query.patterns import pattern_detail
from treering_query.patterns.variables import read_variables
from treering_query.store.store import Store
from treering_runtime.errors import ServiceError
from treering_runtime.patterns import find_patterns

LOG = 7
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
HOSTS = ("db1", "db2", "db1", "db3", "db1")
USERS = ("ann", "bob", "cyd", "dan")


def connections() -> list[Any]:
    messages = [f"connection from {host} refused after {30 + number} ms" for number, host in enumerate(HOSTS)]
    return [LogRecord(service="api", message=text, time_unix_nano=START + number * SECOND) for number, text in enumerate(messages)]


def sessions() -> list[Any]:
    texts = [f"session opened for user {user} today" for user in USERS]
    services = ("login", "login", "login", "mail")
    return [
        LogRecord(service=service, message=text, severity=9, time_unix_nano=START + number * SECOND)
        for number, (service, text) in enumerate(zip(services, texts, strict=True))
    ]


@pytest.fixture
async def store(open_store: OpenStore, frame: MakeFrame) -> AsyncIterator[Store]:
    async with open_store() as store:
        await store.open_log(LOG, 0)
        records = [*connections(), *sessions()]
        await store.deliver(LOG, [frame(0, records[:6])], 9)
        await store.seal()
        await store.deliver(LOG, [frame(6, records[6:])], 9)
        await store.templates.settled()
        yield store


def pattern_id(record: Any) -> Any:
    return find_patterns(pa.array([record.service]), pa.array([record.message])).pattern_ids[0].as_py()


async def detail(store: Store, **fields: LogFilter | int) -> Any:
    plan = pattern_detail.plan(pb.GetPatternRequest(**fields))
    with store.snapshot() as snapshot:
        return await store.run(snapshot, plan.answer)


def values(variable: Any) -> dict[Any, Any]:
    return {value.value: value.count for value in variable.values}


async def test_variables_say_which_hosts(store: Store) -> None:
    found = await detail(store, pattern_id=pattern_id(connections()[0]), buckets=5)
    assert found.pattern.text == "connection from <*> refused after <*>"
    assert found.pattern.count == len(HOSTS) == found.variables_read_count
    hosts, waits = found.variables
    assert hosts.place == "connection from <?> refused after <*>"
    assert waits.place == "connection from <*> refused after <?>"
    assert (hosts.index, waits.index) == (0, 1)
    assert [value.value for value in hosts.values] == ["db1", "db2", "db3"]
    assert values(hosts) == {"db1": 3, "db2": 1, "db3": 1}
    assert waits.distinct_count == len(HOSTS)
    assert list(found.pattern.sparkline) == [1] * 5
    assert [stored.record.message for stored in found.records] == [record.message for record in connections()[:-4:-1]]


async def test_fewer_values_and_no_samples_may_be_asked_for(store: Store) -> None:
    found = await detail(store, pattern_id=pattern_id(connections()[0]), values_per_variable=1, samples=0)
    assert values(found.variables[0]) == {"db1": 3}
    assert found.variables[0].distinct_count == 3
    assert not found.records


async def test_a_template_joins_its_patterns_and_reads_variables_over_all(store: Store) -> None:
    oldest = pattern_id(sessions()[0])
    alias = pattern_id(sessions()[3])
    for identity in (oldest, alias):
        found = await detail(store, template_id=identity)
        assert found.pattern.pattern_id == found.pattern.template_id == oldest
        assert found.pattern.text == "session opened for user <*> today"
        assert (found.pattern.count, found.pattern.pattern_count, list(found.pattern.services)) == (4, 4, ["login", "mail"])
        assert values(found.variables[0]) == dict.fromkeys(USERS, 1)
        assert {member.pattern_id for member in found.members} == {pattern_id(record) for record in sessions()}
        assert [stored.record.message for stored in found.records] == [record.message for record in sessions()[:0:-1]]


async def test_a_filter_narrows_everything(store: Store) -> None:
    found = await detail(store, template_id=pattern_id(sessions()[0]), filter=LogFilter(services=["mail"]))
    assert (found.pattern.count, found.pattern.service, found.pattern.pattern_count) == (1, "mail", 1)
    assert values(found.variables[0]) == {"dan": 1}
    assert len(found.records) == len(found.members) == 1


async def test_a_filter_that_selects_no_record_leaves_the_pattern_known(store: Store) -> None:
    for selection in (LogFilter(services=["nobody"]), LogFilter(pattern_ids=[1])):
        found = await detail(store, pattern_id=pattern_id(connections()[0]), filter=selection)
        assert found.pattern.text == "connection from <*> refused after <*>"
        assert found.pattern.count == 0
        assert not found.variables


@pytest.mark.parametrize("field", ["pattern_id", "template_id"])
async def test_an_unknown_id_is_not_found(store: Store, field: str) -> None:
    with pytest.raises(ServiceError, match="has the id 12") as error:
        await detail(store, **{field: 12})
    assert error.value.reason == ErrorReason.ERROR_REASON_NOT_FOUND
    assert error.value.metadata["field"] == field


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("subject", {}),
        ("buckets", {"pattern_id": 1, "buckets": 1}),
        ("buckets", {"pattern_id": 1, "buckets": limits.MAX_DETAIL_PARTS + 1}),
        ("values_per_variable", {"pattern_id": 1, "values_per_variable": limits.MAX_VARIABLE_VALUES + 1}),
        ("samples", {"pattern_id": 1, "samples": 101}),
        ("filter.min_severity", {"pattern_id": 1, "filter": LogFilter(min_severity=99)}),
    ],
)
def test_bad_values_are_named(field: str, fields: dict[str, int] | dict[str, object]) -> None:
    with pytest.raises(ServiceError) as error:
        pattern_detail.plan(within_limits(pb.GetPatternRequest(**fields)))
    assert error.value.reason == ErrorReason.ERROR_REASON_INVALID_FIELD
    assert error.value.metadata["field"] == field


def test_a_message_longer_than_is_masked_is_read_as_far_as_it_is() -> None:
    message = "took 17 ms for user 4 and " + "then more words " * 1_000
    text = find_patterns(pa.array(["s"]), pa.array([message])).texts[0].as_py()
    variables, read = read_variables(text, pa.chunked_array([[message]]), 3)
    assert read == 1
    assert [variable.values[0].value for variable in variables] == ["17 ms", "4"]


def test_colours_are_not_in_the_way_of_values() -> None:
    message = "\x1b[32mGET\x1b[0m took \x1b[1m12ms\x1b[0m"
    (text,) = find_patterns(pa.array(["web"]), pa.array([message])).texts.to_pylist()
    (variable,), read = read_variables(text, pa.chunked_array([[message]]), 3)
    assert (text, read, variable.values[0].value) == ("GET took <*>", 1, "12ms")


def test_only_so_many_variables_are_read() -> None:
    message = "numbers " + " and ".join(f"n{number}x" for number in range(100)) + " end"
    text = " and ".join(["numbers <*>", *["<*>"] * 99]) + " end"
    variables, read = read_variables(text, pa.chunked_array([[message]]), 3)
    assert (len(variables), read) == (limits.MAX_PATTERN_VARIABLES, 1)


words = st.sampled_from(["took", "for user", "(ms)", "a.b", "[x]", "--", "|", "  spaced", "end\\", "^$", "élan", "*"])
numbers = st.integers(0, 10**6).map(str)


@given(st.lists(st.tuples(words, numbers), min_size=1, max_size=6), words)
def test_values_are_those_that_were_put_in(pairs: list[Any], tail: str) -> None:
    message = " ".join([*(f"{word} {number}" for word, number in pairs), tail])
    found = find_patterns(pa.array(["s"]), pa.array([message]))
    text = found.texts[0].as_py()
    variables, read = read_variables(text, pa.chunked_array([[message]]), 5)
    assert read == 1
    rebuilt = text
    for variable in variables:
        rebuilt = rebuilt.replace("<*>", variable.values[0].value, 1)
    assert rebuilt.split() == message.split()
