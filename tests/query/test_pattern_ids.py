"""Ids of patterns that another one has, and ids from before: what the store keeps, counts, finds and lets go."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import duckdb
import grpc
import pytest
from prometheus_client import CollectorRegistry

from tests.colliding import ONE_ID, collide, former
from tests.hostile import ALL, chance
from tests.query.conftest import MakeFrame, OpenStore
from tests.query.earlier_versions import statistics_into_catalog
from treering.v1 import admin_pb2, embed_pb2
from treering.v1 import query_pb2 as pb
from treering.v1.admin_pb2_grpc import EmbedAdminServiceServicer, add_EmbedAdminServiceServicer_to_server
from treering.v1.embed_pb2_grpc import EmbedServiceServicer, add_EmbedServiceServicer_to_server
from treering.v1.log_pb2 import LogFilter, LogRecord, Position
from treering_query.answers import aggregates
from treering_query.answers.status import Status
from treering_query.meaning.embed_client import EmbedClient, EmbedUnavailable
from treering_query.patterns import compare, pattern_detail, pattern_list
from treering_query.retention.upkeep import Policy
from treering_query.sealed.check import check
from treering_query.sealed.inventory import inventory_at_rest
from treering_query.search.searcher import Searcher
from treering_query.settings import QuerySettings
from treering_query.store.store import Store
from treering_runtime.channels import Peer
from treering_runtime.doors import Socket
from treering_runtime.patterns import MASK_VERSION, NO_PATTERN, former_pattern_id, pattern_id
from treering_runtime.server import Server

AUTH, EVIL = "failed password for admin", "qzxv brrm"
BEGIN = 1_700_000_000_000_000_000


class Away:
    async def search(self, request: Any, timeout_s: float) -> None:
        raise EmbedUnavailable("embed does not answer")


def line(service: str, message: str, number: int = 0) -> LogRecord:
    return LogRecord(service=service, message=message, severity=17, environment="prod", time_unix_nano=BEGIN + number)


@pytest.fixture
def deliver(frame: MakeFrame) -> Callable[..., Coroutine[Any, Any, None]]:
    async def deliver(store: Store, lines: list[tuple[str, str]], at: int = 0) -> None:
        await store.open_log(7, 0)
        await store.deliver(7, [frame(at, [line(*each, at + place) for place, each in enumerate(lines)])], at + len(lines))

    return deliver


def sql(store: Store, statement: str) -> list[Any]:
    with store.snapshot() as snapshot:
        return [tuple(row.values()) for row in snapshot.query(statement).to_pylist()]


def by_service(store: Store) -> list[Any]:
    return sorted(sql(store, "select service, count(*) from logs group by all"))


async def listed(store: Store, **chosen: list[Any]) -> dict[Any, Any]:
    plan = pattern_list.plan(pb.ListPatternsRequest(filter=LogFilter(**chosen)))
    with store.snapshot() as snapshot:
        answer = await store.run(snapshot, plan.answer)
    return {(pattern.pattern_id, pattern.service): pattern.count for pattern in answer.patterns}


async def counted(store: Store, **chosen: list[Any]) -> dict[Any, Any]:
    """By service, from AggregateLogs."""
    request = pb.AggregateLogsRequest(filter=LogFilter(**chosen), group_by=[pb.FieldRef(field=pb.LOG_FIELD_SERVICE)])
    with store.snapshot() as snapshot:
        answer = await store.run(snapshot, aggregates.plan(request).answer)
    return {row.groups[0].value: int(row.values[0].value) for row in answer.rows}


async def searched(store: Store, text: str, **more: LogFilter | int) -> set[Any]:
    answer = await Searcher(store, Away()).search_logs(pb.SearchLogsRequest(text=text, **more), 10)
    return {record.record.message for result in answer.results for record in result.records}


def problems(directory: Path) -> list[Any]:
    return [problem.problem for step in check(inventory_at_rest(directory)) for problem in step.problems]


async def holds_all(store: Store, first: str, second: str) -> None:
    """Two records of the first pattern, which has the id, and three of the second, which has none."""
    assert by_service(store) == sorted([("one", 2), ("two", 3)])
    assert sql(store, "select distinct pattern_id, service from logs order by all desc") == [(ONE_ID, "one"), (NO_PATTERN, "two")]
    assert await listed(store) == {(ONE_ID, "one"): 2, (NO_PATTERN, ""): 3}
    assert await listed(store, services=["two"]) == {(NO_PATTERN, ""): 3}
    assert await listed(store, services=["one"]) == {(ONE_ID, "one"): 2}
    assert await counted(store) == {"one": 2, "two": 3}
    assert await counted(store, services=["two"]) == {"two": 3}
    for text in (first, second):
        assert text in await searched(store, text)
    assert await searched(store, second, filter=LogFilter(services=["two"])) == {second}
    status = await Status(store, QuerySettings()).answer()
    assert (status.pattern_count, status.without_pattern_count) == (1, 3)
    assert sql(store, "select text from patterns where pattern_id = 0")[0][0].startswith("(records that belong to no pattern")


LINES = [(AUTH, EVIL), (EVIL, AUTH)]


@pytest.mark.parametrize(("first", "second"), LINES)
@pytest.mark.parametrize("together", [True, False])
async def test_of_two_patterns_of_one_id_the_second_is_found_by_words_and_sql(
    open_store: OpenStore, deliver: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, first: str, second: str, together: bool
) -> None:
    collide(monkeypatch, AUTH, EVIL)
    lines = [("one", first), ("two", second), ("two", second), ("one", first), ("two", second)]
    async with open_store() as store:
        for at in (0,) if together else range(5):
            await deliver(store, lines if together else [lines[at]], at)
        await holds_all(store, first, second)
        await store.seal()
        await holds_all(store, first, second)
    assert problems(tmp_path / "store") == []
    async with open_store() as store:
        await holds_all(store, first, second)
        await deliver(store, [("two", second), ("one", first)], 5)
        assert await listed(store) == {(ONE_ID, "one"): 3, (NO_PATTERN, ""): 4}
        await store.seal()
    assert problems(tmp_path / "store") == []


WORDS = [f"the {word} is worn out" for word in ("brake", "valve", "belt", "pump", "fan", "gear", "seal", "wheel")]


@pytest.mark.parametrize("number", range(30 if ALL else 2))
async def test_whatever_collides_every_record_is_counted_by_its_own_service_and_found(
    open_store: OpenStore, deliver: Any, monkeypatch: pytest.MonkeyPatch, number: Callable[[range], int]
) -> None:
    random = chance("ids", number)
    colliding = set(random.sample(WORDS, random.randrange(2, 6)))
    collide(monkeypatch, *colliding)
    sent = []

    async def holds_what_was_sent(store: Store) -> None:
        holder = next((kind for kind in sent if kind[1] in colliding), None)
        wanted = {
            kind: (pattern_id(*kind) if kind[1] not in colliding else ONE_ID if kind == holder else NO_PATTERN, count)
            for kind, count in Counter(sent).items()
        }
        rows = sql(store, "select service, message, pattern_id, count(*) from logs group by all")
        assert {(service, message): (found, count) for service, message, found, count in rows} == wanted
        assert await counted(store) == Counter(service for service, _ in sent)
        for message in {message for _, message in sent}:
            assert message in await searched(store, message, samples_per_pattern=100)

    for _ in range(2):
        async with open_store() as store:
            for _ in range(random.randrange(1, 6)):
                lines = [(random.choice("abc"), random.choice(WORDS)) for _ in range(random.randrange(1, 8))]
                await deliver(store, lines, len(sent))
                sent += lines
                if random.random() < 0.4:
                    await store.seal()
            await holds_what_was_sent(store)
            await store.seal()
            await holds_what_was_sent(store)


async def test_a_restart_before_the_seal_gives_the_id_to_the_same_pattern(
    open_store: OpenStore, deliver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    collide(monkeypatch, AUTH, EVIL)
    for _ in range(2):
        async with open_store() as store:
            await deliver(store, [("one", AUTH), ("two", EVIL)])
            assert await listed(store) == {(ONE_ID, "one"): 1, (NO_PATTERN, ""): 1}


class Kept:
    """What embed was told to forget."""

    def __init__(self) -> None:
        self.told = []

    async def forget(self, pattern_ids: Any, below: Any) -> None:
        self.told += pattern_ids


async def test_retention_by_service_counts_records_without_a_pattern_as_their_service_s(
    open_store: OpenStore, deliver: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    collide(monkeypatch, AUTH, EVIL)
    kept, now = Kept(), 2_000_000_000_000_000_000
    async with open_store() as store:
        await deliver(store, [("one", AUTH), ("two", EVIL), ("two", EVIL)])
        await store.seal()
    async with open_store() as store:
        assert [segment.services for segment in store.view.segments] == [{"one", "two"}]
        await store.keep_up(Policy(service_age_s={"one": 1}), now, kept.forget)
        assert by_service(store) == [("two", 2)]
        assert (kept.told, store.view.segments[0].services) == ([ONE_ID], {"two"})
        assert await listed(store) == {(NO_PATTERN, ""): 2}
        # the id is free again; what had none stays as it is
        await deliver(store, [("two", EVIL), ("one", AUTH)], 3)
        assert await listed(store) == {(NO_PATTERN, ""): 3, (ONE_ID, "two"): 1}
        await store.seal()
    assert problems(tmp_path / "store") == []
    async with open_store() as store:
        for _ in range(2):  # whole segments first
            await store.keep_up(Policy(service_age_s={"two": 1}), now, kept.forget)
        assert by_service(store) == [("one", 1)]
        await store.keep_up(Policy(age_s=1), now, kept.forget)
        assert (by_service(store), store.view.listed().num_rows) == ([], 0)
    assert problems(tmp_path / "store") == []


async def test_questions_about_records_without_a_pattern_look_at_the_records(
    open_store: OpenStore, deliver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    collide(monkeypatch, AUTH, EVIL)
    async with open_store() as store:
        await deliver(store, [("one", AUTH), ("two", EVIL), ("three", "disk full"), ("two", EVIL)])
        with store.snapshot() as snapshot:
            detail = pattern_detail.plan(pb.GetPatternRequest(pattern_id=NO_PATTERN, samples=5))
            answer = await store.run(snapshot, detail.answer)
            assert (answer.pattern.count, {record.record.service for record in answer.records}) == (2, {"two"})
            narrow = pattern_detail.plan(pb.GetPatternRequest(pattern_id=NO_PATTERN, filter=LogFilter(services=["one"])))
            assert (await store.run(snapshot, narrow.answer)).pattern.count == 0
            sides = pb.ComparePatternsRequest(filter=LogFilter(services=["two"]), baseline=LogFilter(services=["one"]))
            found = await store.run(snapshot, compare.plan(sides).answer)
            assert {(each.pattern.pattern_id, each.pattern.count, each.baseline_count) for each in found.differences} == {
                (NO_PATTERN, 2, 0),
                (ONE_ID, 0, 1),
            }
        await deliver(store, [("four", f"{EVIL} too")], 4)
        like = pb.SearchLogsRequest(like=Position(log_id=7, offset=1), mode=pb.SEARCH_MODE_KEYWORD)
        answer = await Searcher(store, Away()).search_logs(like, 10)
        assert [record.record.message for result in answer.results for record in result.records] == [f"{EVIL} too"]
        await store.templates.settled()
        assert NO_PATTERN not in store.view.templates.template_ids


async def test_records_without_a_pattern_begin_nowhere_so_that_no_watch_announces_them(
    open_store: OpenStore, deliver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    collide(monkeypatch, AUTH, EVIL)
    async with open_store() as store:
        await deliver(store, [("one", AUTH), ("two", EVIL)])
        assert sql(store, "select pattern_id, first_offset from _patterns order by all") == [(NO_PATTERN, None), (ONE_ID, 0)]


async def test_two_patterns_of_one_id_that_come_by_delivery_and_out_of_quarantine_are_told_apart(
    open_store: OpenStore, deliver: Any, frame: MakeFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are read before either is shown."""
    collide(monkeypatch, AUTH, EVIL)
    async with open_store() as store:
        await deliver(store, [("zero", "disk full")])
        intake = store._deliveries.intake
        # on the thread that claims, one after the other, and neither is in the table yet
        first, _ = intake.take(7, [frame(1, [line("one", AUTH, 1)])], 0)
        second, _ = intake.take(7, [frame(2, [line("two", EVIL, 2)])], 0)
        assert [taken.records.column("pattern_id").to_pylist() for taken in (first, second)] == [[ONE_ID], [NO_PATTERN]]


OLD = [("shop", f"order {word} paid") for word in ("was", "is", "gets")]


@pytest.fixture
async def from_before(open_store: OpenStore, deliver: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A store whose patterns have the ids of mask version 2, some sealed."""
    with monkeypatch.context() as then:
        former(then)
        async with open_store() as store:
            await deliver(store, [*OLD, *OLD])
            await store.seal()
    statistics_into_catalog(tmp_path / "store")
    with duckdb.connect(str(tmp_path / "store" / "logs.duckdb")) as catalog:
        catalog.execute("drop table segment_services")
        catalog.execute("update segments set mask_version = 2")
    return tmp_path / "store"


NEW = ("shop", "cable unplugged")


async def test_a_store_from_before_goes_on_with_its_ids(open_store: OpenStore, deliver: Any, from_before: Path) -> None:
    old = {former_pattern_id(*kind): kind for kind in OLD}
    assert problems(from_before) == []
    async with open_store() as store:
        assert {segment.services for segment in store.view.segments} == {frozenset({"shop"})}
        await deliver(store, [*OLD, NEW], 6)
        assert await listed(store) == {(number, "shop"): 3 for number in old} | {(pattern_id(*NEW), "shop"): 1}
        with store.snapshot() as snapshot:
            halves = pb.ComparePatternsRequest(
                filter=LogFilter(start_time_unix_nano=BEGIN + 6),
                baseline=LogFilter(end_time_unix_nano=BEGIN + 6),
                changes=[pb.PATTERN_CHANGE_NEW, pb.PATTERN_CHANGE_GONE],
            )
            found = await store.run(snapshot, compare.plan(halves).answer)
        assert [(each.pattern.pattern_id, each.change) for each in found.differences] == [(pattern_id(*NEW), pb.PATTERN_CHANGE_NEW)]
        for at in range(10, 22, 3):
            await store.seal()
            await deliver(store, OLD, at)
        await store.seal()
    assert problems(from_before) == []
    async with open_store() as store:
        assert {segment.mask_version for segment in store.view.segments} == {2, 3}
        await store.keep_up(Policy(), 0, Kept().forget)
        assert [segment.mask_version for segment in store.view.segments] == [3]
        assert {number for number, _ in await listed(store)} == {*old, pattern_id(*NEW)}
    assert problems(from_before) == []


async def test_damaged_ids_of_a_store_from_before_are_found(from_before: Path) -> None:
    with duckdb.connect(str(from_before / "logs.duckdb")) as catalog:
        one, _ = catalog.execute("select pattern_id from patterns order by all limit 2").fetchall()
        catalog.execute("update patterns set text = 'another' where pattern_id = ?", one)
    assert any("1 patterns have a text that is not theirs" in problem for problem in problems(from_before))
    assert any("2 records have the id of another pattern than their message" in problem for problem in problems(from_before))


async def test_a_pattern_from_before_that_was_forgotten_comes_back_under_its_new_id(
    open_store: OpenStore, deliver: Any, from_before: Path
) -> None:
    kept = Kept()
    async with open_store() as store:
        await store.keep_up(Policy(age_s=1), 2_000_000_000_000_000_000, kept.forget)
        assert sorted(kept.told) == sorted(former_pattern_id(*kind) for kind in OLD)
        await deliver(store, OLD, 6)
        assert await listed(store) == {(pattern_id(*kind), "shop"): 1 for kind in OLD}
        assert not store.ids.translates


class Embed(EmbedServiceServicer, EmbedAdminServiceServicer):
    """Knows patterns by the ids that services use between them, and none by another."""

    def __init__(self, scores: dict[Any, Any]) -> None:
        self.scores = scores
        self.forgotten = []

    async def SearchPatterns(
        self, request: embed_pb2.SearchPatternsRequest, context: "grpc.aio.ServicerContext[object, object]"
    ) -> embed_pb2.SearchPatternsResponse:
        allowed = set(request.restrict_to.pattern_ids) if request.HasField("restrict_to") else set(self.scores)
        chosen = [*sorted(allowed & self.scores.keys(), key=self.scores.get)[-1:], *(set(request.also_score_ids) & self.scores.keys())]
        scores = [embed_pb2.PatternScore(pattern_id=number, score=self.scores[number]) for number in dict.fromkeys(chosen)]
        return embed_pb2.SearchPatternsResponse(scores=scores, mask_version=MASK_VERSION)

    async def ScorePatterns(
        self, request: admin_pb2.ScorePatternsRequest, context: "grpc.aio.ServicerContext[object, object]"
    ) -> AsyncIterator[admin_pb2.ScorePatternsResponse]:
        texts = [admin_pb2.TextScores(scores=self.scores.values())] * len(request.texts)
        yield admin_pb2.ScorePatternsResponse(pattern_ids=self.scores, texts=texts, mask_version=MASK_VERSION)

    async def ForgetPatterns(
        self, request: admin_pb2.ForgetPatternsRequest, context: "grpc.aio.ServicerContext[object, object]"
    ) -> admin_pb2.ForgetPatternsResponse:
        self.forgotten += request.pattern_ids
        return admin_pb2.ForgetPatternsResponse()


@asynccontextmanager
async def asking(store: Store, scores: dict[tuple[str, str], float], place: Path) -> AsyncIterator[tuple[Embed, EmbedClient]]:
    """A client of an embed service that knows these kinds."""
    embed = Embed({pattern_id(*kind): score for kind, score in scores.items()})
    server = Server(Socket(place / "s", "embed"), (), CollectorRegistry())
    add_EmbedServiceServicer_to_server(embed, server.grpc)
    add_EmbedAdminServiceServicer_to_server(embed, server.grpc)
    await server.start()
    client = EmbedClient(Peer(server.address), store.ids)
    try:
        yield embed, client
    finally:
        await client.close()
        await server.stop(0)


async def test_embed_is_asked_and_understood_by_the_ids_that_both_know(
    open_store: OpenStore, deliver: Any, from_before: Path, tmp_path: Path
) -> None:
    """It may hold a kind under whatever id: what goes over the wire depends on the kind alone."""
    scores = {OLD[0]: 0.25, OLD[1]: 0.5, NEW: 0.75, ("shop", "never seen here"): 1.0}
    stored = {former_pattern_id(*OLD[0]): 0.25, former_pattern_id(*OLD[1]): 0.5, pattern_id(*NEW): 0.75}
    async with open_store() as store:
        await deliver(store, [NEW], 6)
        async with asking(store, scores, tmp_path / "embed") as (embed, client):
            request = embed_pb2.SearchPatternsRequest(text="x", limit=1, also_score_ids=[former_pattern_id(*OLD[0]), NO_PATTERN])
            found = await client.search(request, 10)
            assert dict(zip(found.pattern_ids.tolist(), found.scores.tolist(), strict=True)).keys() >= {former_pattern_id(*OLD[0])}
            request.restrict_to.pattern_ids.extend([former_pattern_id(*OLD[1]), former_pattern_id(*OLD[0])])
            found = await client.search(request, 10)
            assert found.pattern_ids.tolist() == [former_pattern_id(*OLD[1]), former_pattern_id(*OLD[0])]
            request.restrict_to.Clear()
            request.restrict_to.SetInParent()
            request.also_score_ids.clear()
            assert (await client.search(request, 10)).pattern_ids.tolist() == []
            found = await client.score(["x"], (), 10)
            by_id = dict(zip(found.pattern_ids.tolist(), found.scores[0].tolist(), strict=True))
            assert by_id == stored | {pattern_id("shop", "never seen here"): 1.0}
            await store.keep_up(Policy(age_s=1), 2_000_000_000_000_000_000, client.forget)
            assert sorted(embed.forgotten) == sorted(pattern_id(*kind) for kind in OLD)
