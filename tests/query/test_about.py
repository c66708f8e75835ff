"""Filtering and grouping by meaning in the typed rpcs, through the whole service, against counts by hand."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.query.conftest import MakeFrame, MakeRecord, OpenSql, OpenStore
from tests.query.query_front import asking_front
from treering import AsyncClient, Client  # noqa: F401 - the public names
from treering.errors import TreeringError
from treering.v1 import query_pb2 as pb
from treering.v1.error_pb2 import ErrorReason
from treering.v1.log_pb2 import LogFilter, Position
from treering_query.meaning.embed_client import EmbedUnavailable, PatternScores
from treering_runtime.errors import ServiceError
from treering_runtime.patterns import MASK_VERSION

KINDS = ("disk is full", "payment timed out", "user logged in", "cache was rebuilt")
SCORES = {"disk": (0.9, 0.4, 0.5, 0.1), "nothing": (0.1, 0.1, 0.1, 0.1)}
RECORDS = 40
EACH = RECORDS // 4


class Canned:
    """Scores by the words above; also the searcher's side of the embed service, which is away."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.asked: list[tuple[list[str], list[Position]]] = []
        self.away = False

    async def score(self, texts: "Canned", min_positions: Any, timeout_s: Any) -> PatternScores:
        self.asked.append((list(texts), list(min_positions)))
        if self.away:
            raise EmbedUnavailable("embed does not answer")
        columns = [np.array(SCORES[text], np.float32) for text in texts]
        return PatternScores.ascending(np.array(self.ids, np.uint64), columns, MASK_VERSION)

    async def search(self, query: Any, timeout_s: float) -> None:
        raise EmbedUnavailable("embed does not answer")


@pytest.fixture
def canned() -> Canned:
    return Canned()


@pytest.fixture
async def client(
    open_store: OpenStore, open_sql: OpenSql, frame: MakeFrame, record: MakeRecord, canned: Canned, tmp_path: Path
) -> AsyncIterator[AsyncClient]:
    async with open_store() as store:
        await store.open_log(7, 0)
        some = [record(number, service=f"svc{number % 4}", message=f"{KINDS[number % 4]} {number}") for number in range(RECORDS)]
        await store.deliver(7, [frame(0, some[:20])], 20)
        await store.seal()
        await store.deliver(7, [frame(20, some[20:])], RECORDS)
        with store.snapshot() as snapshot:
            canned.ids = snapshot.query("select pattern_id from patterns order by service").column(0).to_pylist()
        async with open_sql(store, tmp_path / "store") as sql, asking_front(store, sql, canned) as client:
            yield client


def groups(response: pb.AggregateLogsResponse) -> dict[str, float]:
    return {row.groups[0].value: row.values[0].value for row in response.rows}


async def test_aggregates_are_filtered_by_meaning(client: AsyncClient) -> None:
    found = await client.aggregate_logs(by=["service"], filter=LogFilter(about="disk"))
    assert groups(found) == {"svc0": EACH, "svc2": EACH}


async def test_aggregates_are_grouped_by_meaning(client: AsyncClient) -> None:
    found = await client.aggregate_logs(by=["about:disk"])
    assert groups(found) == {"true": 2 * EACH, "false": 2 * EACH}
    found = await client.aggregate_logs(by=["about:disk"], filter=LogFilter(message_contains="FULL"))
    assert groups(found) == {"true": EACH}
    found = await client.aggregate_logs(by=["about:nothing", "about:disk"], bucket_s=3600)
    assert {tuple(group.value for group in row.groups) for row in found.rows} == {("false", "true"), ("false", "false")}
    assert sum(row.values[0].value for row in found.rows) == RECORDS


async def test_answer_says_how_many_patterns_have_no_score(client: AsyncClient, canned: Canned, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await client.aggregate_logs(by=["about:disk"])).degraded_because == ""
    monkeypatch.setattr(canned, "ids", canned.ids[:3])
    monkeypatch.setitem(SCORES, "disk", SCORES["disk"][:3])
    answer = await client.aggregate_logs(by=["about:disk"])
    assert answer.degraded_because == "1 of 4 patterns have no vector yet: they score 0 for every text"
    assert sum(row.values[0].value for row in answer.rows) == RECORDS
    assert (await client.aggregate_logs(by=["service"])).degraded_because == ""


async def test_text_that_nothing_is_about_selects_nothing(client: AsyncClient) -> None:
    assert not (await client.aggregate_logs(by=["service"], filter=LogFilter(about="nothing"))).rows
    assert not (await client.list_patterns(filter=LogFilter(about="nothing"))).patterns


async def test_meaning_narrows_beside_other_conditions(client: AsyncClient, canned: Canned) -> None:
    chosen = LogFilter(about="disk", pattern_ids=canned.ids[:2], min_severity=1)
    assert groups(await client.aggregate_logs(by=["service"], filter=chosen)) == {"svc0": EACH}
    chosen = LogFilter(about="disk", pattern_ids=canned.ids[1:2])
    assert not (await client.aggregate_logs(by=["service"], filter=chosen)).rows


async def test_patterns_searches_and_exports_are_filtered_by_meaning(client: AsyncClient) -> None:
    listed = await client.list_patterns(filter=LogFilter(about="disk"))
    assert {pattern.service for pattern in listed.patterns} == {"svc0", "svc2"}
    found = await client.search_logs("logged", mode="keyword", filter=LogFilter(about="disk"))
    assert [result.service for result in found.results] == ["svc2"]
    parts = [part async for part in client.export_logs(filter=LogFilter(about="disk"))]
    assert parts[-1].summary.row_count == 2 * EACH


async def test_one_question_scores_its_texts_once_and_waits_for_the_index(client: AsyncClient, canned: Canned) -> None:
    position = Position(log_id=7, offset=RECORDS)
    await client.aggregate_logs(by=["about:disk", "about:nothing"], filter=LogFilter(about="disk"), min_positions=[position])
    assert canned.asked == [(["disk", "nothing"], [position])]
    await client.aggregate_logs(by=["service"])
    assert len(canned.asked) == 1


async def test_embed_that_is_away_is_named(client: AsyncClient, canned: Canned) -> None:
    canned.away = True
    with pytest.raises(TreeringError, match="embed does not answer; try again, or ask without about"):
        await client.aggregate_logs(filter=LogFilter(about="disk"))
    assert len(canned.asked) == 1, "asked again, although query has waited for it"
    assert groups(await client.aggregate_logs(by=["environment"]))


async def test_a_service_that_is_still_starting_is_asked_again(
    client: AsyncClient, canned: Canned, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [ServiceError(ErrorReason.ERROR_REASON_STARTING, "not yet"), None]

    async def score(*asked: Any) -> PatternScores:
        if refused := answers.pop(0):
            raise refused
        return await Canned.score(canned, *asked)

    monkeypatch.setattr(canned, "score", score)
    assert groups(await client.aggregate_logs(by=["service"], filter=LogFilter(about="disk"))) == {"svc0": EACH, "svc2": EACH}


@pytest.mark.parametrize("text", [" ", "x" * 1001])
async def test_texts_beyond_limits_are_refused(client: AsyncClient, canned: Canned, text: str) -> None:
    with pytest.raises(TreeringError, match=r"filter\.about: "):
        await client.aggregate_logs(filter=LogFilter(about=text))
    with pytest.raises(TreeringError, match=r"group_by\[0\]"):
        await client.aggregate_logs(by=[pb.FieldRef(about=text)])
    assert canned.asked == []


async def test_group_without_a_text_is_refused(client: AsyncClient) -> None:
    with pytest.raises(TreeringError, match=r"group_by\[0\]: the text is empty"):
        await client.aggregate_logs(by=[pb.FieldRef(about="")])


async def test_stream_says_what_to_do_instead(client: AsyncClient) -> None:
    with pytest.raises(TreeringError, match="give their pattern_ids"):
        await anext(aiter(client.tail_logs(filter=LogFilter(about="disk"))))
