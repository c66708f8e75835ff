"""Judged searches over the shop's day through the real services: quality must not fall.

`shop_searches.jsonl` names what is relevant by a piece of message that one kind of line has: 2 answers the question, 1 is related to it.
Floors stand a little under what was measured when they were set (hybrid 0.86, keyword 1.00, no shared word 0.75, some 0.87; BM25 0.54),
so that a change of the model's last digits passes and a change of ranking does not. They are for this project's guard only: the shop was
written by the same hands as its searches.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.ranking import Bm25, Judged, distinct, mean_by_kind, quality
from tests.system.conftest import Up
from treering import Client, log_filter
from treering.channels import Endpoints

pytestmark = pytest.mark.system

SEARCHES = [json.loads(line) for line in (Path(__file__).parent / "shop_searches.jsonl").read_text().splitlines()]
PIECES = sorted({piece for search in SEARCHES for piece in search["relevant"]}, key=len, reverse=True)
"""What names the kinds of line; the longest that a message holds is its name."""

FLOORS = {"all": 0.82, "keyword": 0.99, "paraphrase/none": 0.70, "paraphrase/some": 0.82}
ABOVE_BM25 = 0.25
"""nDCG@10 over all searches by which the product is at least better than BM25 over the lines."""

FEW = 1
"""Most results a question about other systems may have on average that are not weak, of 50."""

OTHER_SYSTEMS = (
    "kernel ran out of memory and killed a process",
    "virtual machine image was copied to the compute node",
    "torus link of a rack has a parity problem",
    "namenode replicated a chunk of data to a third machine",
    "rover could not unfold its left solar panel",
    "apiary reports that the queen bee is gone",
    "telescope lost its guide star",
    "irrigation pump of the greenhouse is clogged",
    "train was late because of leaves on the rails",
    "choir rehearsal begins an hour later",
)


@pytest.fixture(scope="module")
def client(up: Up, shop: dict[str, int]) -> Iterator[Client]:
    with Client(Endpoints(up.ready["ingest"], up.ready["embed"], up.ready["query"]), timeout=60) as connected:
        yield connected


@pytest.fixture(scope="module")
def lines(shop_file: Path) -> list[Any]:
    return [json.loads(line) for line in shop_file.read_text().splitlines()]


def kind_of(message: str) -> Any | str:
    return next((piece for piece in PIECES if piece in message), message)


def found(client: Client, text: Any, mode: str = "hybrid") -> list[str]:
    answer = client.search_logs(text, mode=mode, filter=log_filter(environments=["prod"]), page_size=50, samples_per_pattern=1)
    return distinct(kind_of(result.records[0].record.message) for result in answer.results)


def judged(rank: Callable[[Any], list[str]]) -> dict[Any, Any]:
    rows = [(search, quality(rank(search.text), search.grades)) for search in map(Judged.parse, SEARCHES)]
    return {kind: mean["ndcg"] for kind, mean in mean_by_kind(rows).items()}


def test_each_judgement_is_about_a_line_of_the_day(lines: list[Any]) -> None:
    assert len(SEARCHES) >= 40
    messages = [line["message"] for line in lines]
    assert {piece for piece in PIECES if any(kind_of(message) == piece for message in messages)} == set(PIECES)


def test_search_keeps_its_quality_and_beats_bm25(client: Client, lines: list[Any]) -> None:
    ours = judged(lambda text: found(client, text))
    index = Bm25([f"{line['service']} {line['message']}" for line in lines])
    bm25 = judged(lambda text: distinct(kind_of(lines[row]["message"]) for row in index.rank(text)))
    print("hybrid", ours, "bm25", bm25)  # noqa: T201 - seen where the test fails
    assert {kind: ours[kind] for kind in FLOORS if ours[kind] < FLOORS[kind]} == {}
    assert ours["all"] > bm25["all"] + ABOVE_BM25


def test_questions_about_other_systems_find_little_that_is_not_weak(client: Client) -> None:
    answers = [client.search_logs(text, filter=log_filter(environments=["prod"]), page_size=50) for text in OTHER_SYSTEMS]
    strong = [sum(not result.weak for result in answer.results) for answer in answers]
    print("not weak", strong)  # noqa: T201 - seen where the test fails
    assert sum(strong) / len(strong) <= FEW
    assert sorted(strong)[len(strong) // 2] == 0


def test_min_score_never_drops_a_literal_hit(client: Client) -> None:
    answer = client.search_logs("insufficient_funds", min_score=1, filter=log_filter(environments=["prod"]))
    assert [kind_of(result.records[0].record.message) for result in answer.results] == ["code=insufficient_funds"]
