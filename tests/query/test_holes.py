"""What an operator let the store go on without is named in what it answers."""

from pathlib import Path

import pytest

from tests.query.conftest import MakeFrame, Serving
from treering.v1.log_pb2 import Hole as HoleMessage
from treering.v1.log_pb2 import LogRecord
from treering_runtime.holes import Hole, Holes, add_hole

LOG = 0xA1
WORDS = (
    "70 records are missing for good: offsets 10 to 39 of log 161, offsets 60 to 99 of log 161; "
    "an operator let the service go on without them (treering store skip)"
)


@pytest.fixture
def holes(tmp_path: Path) -> Holes:
    """Three of the file, one of them in another, behind which a sink has gone on, and one that was never needed."""
    for hole in (Hole(LOG, 60, 100), Hole(LOG, 10, 20), Hole(LOG, 10, 40), Hole(LOG, 500, 600)):
        add_hole(tmp_path, hole)
        if hole.first_offset < 500:
            assert Holes(tmp_path).go_behind(hole)
    return Holes(tmp_path)


async def test_an_answer_of_sql_that_may_concern_a_hole_says_so(serving: Serving, frame: MakeFrame, holes: Holes) -> None:
    async with serving() as (store, client):
        await store.deliver(LOG, [frame(0, [LogRecord(service="a", message=f"said {number}") for number in range(10)])], 10)
        assert (await client.sql("select count(*) from logs")).summary.degraded_because == ""
        store.board.holes = holes
        for query in ("select count(*) from logs where time > '2026-01-01'", "select sum(count) from PATTERNS"):
            assert (await client.sql(query)).summary.degraded_because == WORDS
        assert (await client.sql("select 1")).summary.degraded_because == ""


async def test_counts_and_the_status_name_holes(serving: Serving, frame: MakeFrame, holes: Holes) -> None:
    async with serving() as (store, client):
        await store.deliver(LOG, [frame(0, [LogRecord(service="a", message="one")])], 1)
        store.board.holes = holes
        assert (await client.aggregate_logs()).degraded_because == WORDS
        named = [HoleMessage(log_id=LOG, first_offset=first, end_offset_exclusive=end) for first, end in ((10, 40), (60, 100))]
        assert list((await client.get_query_status()).holes) == named


def test_many_holes_are_counted_and_some_are_named(tmp_path: Path) -> None:
    for number in range(10):
        add_hole(tmp_path, Hole(LOG, 10 * number, 10 * number + 5))
        assert Holes(tmp_path).go_behind(Hole(LOG, 10 * number, 10 * number + 5))
    words = Holes(tmp_path).words
    assert words.startswith("50 records are missing for good: offsets 0 to 4 of log 161, ")
    assert "and 7 more holes; an operator" in words
