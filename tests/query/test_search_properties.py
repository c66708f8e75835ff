"""Ranking, literals, words, and reading newest first, against plain models."""

import asyncio
import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from treering.v1.log_pb2 import LogFilter
from treering_query.reading import filters
from treering_query.reading.samples import newest
from treering_query.reading.slices import newest_first
from treering_query.search.bm25 import K1, B, Bm25
from treering_query.search.literals import find_literals
from treering_query.search.ranking import BORDER, Fits, LiteralHits, Tier, placed, rank
from treering_query.search.scan import scan_messages
from treering_query.values.pattern_ids import among, as_ids

_TABLE = st.permutations([2**64 - 1 - number for number in range(20)])
"""Patterns in the order of their table; the largest ids tell a float from an integer."""
_FIT = st.none() | st.floats(allow_nan=True, allow_infinity=True)
_FOUND = st.lists(st.tuples(st.booleans(), st.booleans(), _FIT), min_size=20, max_size=20)
"""Of each pattern: whether it is hit verbatim, whether by identifiers, and its score if it has one."""


def _ranking(table, found, least=0.0):
    hits = LiteralHits(np.array([each[0] for each in found]), np.array([each[1] for each in found]))
    scored = [row for row, each in enumerate(found) if each[2] is not None]
    fits = Fits(np.array(scored, np.int64), np.array([found[row][2] for row in scored], np.float64))
    return rank(np.array(table, np.uint64), hits, fits, least)


def _plainly_ranked(table, found, least=0.0):
    """The slow twin: pattern by pattern."""
    ranked = []
    for pattern_id, (verbatim, identifiers, score) in zip(table, found, strict=True):
        tier = Tier.VERBATIM if verbatim else Tier.IDENTIFIERS if identifiers else Tier.REST
        fit = 0.0 if score is None or math.isnan(score) else min(max(score, 0.0), 1.0)
        if tier is not Tier.REST or (score is not None and fit >= least):
            ranked.append(placed(pattern_id, tier, fit))
    return sorted(ranked, key=lambda place: (place.tier, -place.fit, place.pattern_id))


@given(_TABLE, _FOUND, st.floats(0, 1))
def test_the_order_is_tier_then_fit_then_id(table, found, least):
    ranking = _ranking(table, found, least)
    plain = _plainly_ranked(table, found, least)
    assert ranking.part(0, len(ranking)) == plain
    assert ranking.part(3, 5) == plain[3:8]


@given(_TABLE, _FOUND, st.floats(0, 1))
def test_a_literal_hit_is_never_lost_and_never_below_another_result(table, found, least):
    ranked = _ranking(table, found, least).part(0, len(table))
    assert {pattern_id for pattern_id, each in zip(table, found, strict=True) if each[0] or each[1]} <= {
        place.pattern_id for place in ranked
    }
    assert all(one.tier <= other.tier for one, other in pairwise(ranked))
    assert all(one.score >= other.score for one, other in pairwise(ranked) if one.tier is other.tier)


@given(_TABLE, _FOUND, st.floats(0, 1))
def test_scores_are_calibrated_and_min_score_is_kept(table, found, least):
    for place in _ranking(table, found, least).part(0, len(table)):
        assert least <= place.score <= 1 or (place.tier is not Tier.REST and place.score >= BORDER)
        assert place.weak == (place.tier is Tier.REST and place.score < BORDER)


@given(_TABLE, _FOUND, st.sets(st.integers(0, 40)), st.integers(0, 19))
def test_what_was_shown_leaves_and_what_leads_leads_once(table, found, gone, leader):
    ranking = _ranking(table, found)
    gone = {2**64 - 1 - number for number in gone}
    plain = _plainly_ranked(table, found)
    assert ranking.without(gone).part(0, len(table)) == [place for place in plain if place.pattern_id not in gone]
    led = ranking.led_by(table[leader]).part(0, len(table) + 1)
    assert led == [placed(table[leader], Tier.REST, 1.0), *(place for place in plain if place.pattern_id != table[leader])]


@given(st.lists(st.integers(0, 2**64 - 1)), st.sets(st.integers(0, 2**64 - 1)), st.data())
def test_ids_among_others_are_those_of_the_set(ids, members, data):
    ids += data.draw(st.lists(st.sampled_from(sorted(members) or [0])))
    assert among(np.array(ids, np.uint64), as_ids(members)).tolist() == [number in members for number in ids]


@given(st.text())
def test_identifiers_are_pieces_of_the_query(text):
    literals = find_literals(text)
    assert literals.whole == text.strip()
    assert all(word and word in text for word in literals.identifiers)


@pytest.mark.parametrize(
    ("text", "identifiers", "read"),
    [
        ("10.250.10.", ("10.250.10",), True),
        ("why did the disk fail so early", (), False),
        ("scoreboard slot", (), True),
        ("KeeperErrorCode = NodeExists", ("KeeperErrorCode", "NodeExists"), True),
        ("IdoTransportMgr::SendPacket ASSERT", ("IdoTransportMgr::SendPacket",), True),
        ('what about "replay cache" in all those lines', ("replay cache",), True),
        ("who wrote to /var/log, again and again today", ("/var/log",), True),
        ("the end. And then it was over again", (), False),
    ],
)
def test_what_is_an_identifier(text, identifiers, read):
    literals = find_literals(text)
    assert literals.identifiers == identifiers
    assert literals.read_messages is read


_WORD = st.sampled_from(["disk", "full", "user", "root", "port", "block"])
_TEXT = st.lists(_WORD, max_size=6).map(" ".join)


def _plain_bm25(documents, query):
    split = [document.split() for document in documents]
    mean = sum(map(len, split)) / len(split)
    scores, ideal = [0.0] * len(split), 0.0
    for word in dict.fromkeys(query.split()):
        holding = sum(word in words for words in split)
        weight = math.log(1 + (len(split) - holding + 0.5) / (holding + 0.5))
        ideal += weight
        for row, words in enumerate(split):
            if count := Counter(words)[word]:
                scores[row] += weight * count * (K1 + 1) / (count + K1 * (1 - B + B * len(words) / mean))
    return [min(score / ideal, 1) if ideal else 0 for score in scores]


@given(st.lists(_TEXT, min_size=1, max_size=8), _TEXT)
def test_bm25_agrees_with_its_formula(documents, query):
    assert Bm25(pa.array(documents, pa.string())).score(query).tolist() == pytest.approx(_plain_bm25(documents, query))


@pytest.mark.parametrize("query", ["fail", "failed", "fails", "FAILING", "BlockFailed"])
def test_words_meet_in_their_stems(query):
    scores = Bm25(pa.array(["serving failed", "all is well", ""], pa.string())).score(query)
    assert scores.argmax() == 0
    assert scores[0] > 0


def test_an_empty_table_has_no_words():
    assert Bm25(pa.array([], pa.string())).score("disk").tolist() == []


_ROWS = st.lists(
    st.tuples(st.integers(0, 20), st.sampled_from(["disk sda full", "disk sdb full", "user u1 in", "user u2 out"]), st.booleans()),
    min_size=1,
    max_size=25,
)


async def _filled(store, frame, record, rows):
    await store.open_log(7, 0)
    for offset, (at, message, seal) in enumerate(rows):
        await store.deliver(7, [frame(offset, [record(offset, service="s", message=message, time_unix_nano=1_000 + at)])], offset + 1)
        if seal:
            await store.seal()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=_ROWS, count=st.integers(0, 4), start=st.integers(0, 20), slice_rows=st.sampled_from([1, 4, 500_000]))
def test_samples_are_the_newest_wherever_they_lie(open_store, tmp_path_factory, frame, record, rows, count, start, slice_rows):
    predicate = filters.where(LogFilter(start_time_unix_nano=1_000 + start) if start else LogFilter())

    def check(snapshot):
        everything = snapshot.query('select pattern_id, epoch_ns(time) as t, "offset" as o from logs').to_pylist()
        found = newest(snapshot, {row["pattern_id"] for row in everything}, count, predicate)
        wanted = []
        for pattern_id in {row["pattern_id"] for row in everything}:
            mine = sorted((row["t"], row["o"], pattern_id) for row in everything if row["pattern_id"] == pattern_id)
            wanted += [place for place in reversed(mine) if place[0] >= 1_000 + start][:count]
        places = [found.column("time").cast(pa.int64()), found.column("offset"), found.column("pattern_id")]
        assert list(zip(*(column.to_pylist() for column in places), strict=True)) == sorted(wanted, reverse=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("treering_query.reading.slices.SLICE_ROWS", slice_rows)
        asyncio.run(_on_store(open_store, tmp_path_factory, frame, record, rows, check))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=_ROWS, query=st.sampled_from(["sda", "SDA full", "u1", "disk sdb", "u2 something sda", "nothing"]))
def test_the_scan_finds_what_reading_all_messages_finds(open_store, tmp_path_factory, frame, record, rows, query):
    literals = find_literals(query)

    def check(snapshot):
        everything = snapshot.query("select pattern_id, message from logs").to_pylist()
        whole = {row["pattern_id"] for row in everything if literals.whole.lower() in row["message"].lower()}
        words = [word.lower() for word in literals.identifiers] or [literals.whole.lower()]
        all_words = {row["pattern_id"] for row in everything if all(word in row["message"].lower() for word in words)}
        scan = scan_messages(snapshot, filters.where(LogFilter()), literals, budget_s=60)
        assert scan.complete
        assert (scan.verbatim, scan.identifiers - scan.verbatim) == (whole, all_words - whole)
        hurried = scan_messages(snapshot, filters.where(LogFilter()), literals, budget_s=0)
        first, *later = newest_first(snapshot, filters.where(LogFilter()))
        assert hurried.complete == (not later)
        assert not later or hurried.scanned_back_to == first.older_than + 1

    asyncio.run(_on_store(open_store, tmp_path_factory, frame, record, rows, check))


async def _on_store(open_store, tmp_path_factory, frame, record, rows, check):
    async with open_store(directory=tmp_path_factory.mktemp("store")) as store:
        await _filled(store, frame, record, rows)
        with store.snapshot() as snapshot:
            await store.run(snapshot, check)
