"""Ranking, literals, words, and reading newest first, against plain models."""

import asyncio
import math
from collections import Counter
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from treering.v1.log_pb2 import LogFilter
from treering_query import filters
from treering_query.search.bm25 import K1, B, Bm25
from treering_query.search.literals import find_literals
from treering_query.search.ranking import BORDER, Hits, Tier, rank
from treering_query.search.samples import newest
from treering_query.search.scan import scan_messages
from treering_query.slices import newest_first

_IDS = st.integers(0, 30)
_FITS = st.dictionaries(_IDS, st.floats(allow_nan=True, allow_infinity=True))
_HITS = st.builds(Hits, st.frozensets(_IDS), st.frozensets(_IDS))


@given(_HITS, _FITS)
def test_a_literal_hit_is_never_below_another_result_and_none_is_lost(hits, fits):
    ranked = rank(hits, fits)
    assert [place.tier for place in ranked] == sorted(place.tier for place in ranked)
    assert {place.pattern_id for place in ranked} == hits.pattern_ids | set(fits)
    assert len(ranked) == len({place.pattern_id for place in ranked})
    assert all(place.tier is Tier.VERBATIM for place in ranked if place.pattern_id in hits.verbatim)


@given(_HITS, _FITS)
def test_the_order_is_total_and_stable(hits, fits):
    ranked = rank(hits, fits)
    assert rank(hits, dict(reversed(fits.items()))) == ranked
    keys = [(place.tier, -place.fit, place.pattern_id) for place in ranked]
    assert keys == sorted(keys)
    assert all(one.score >= other.score for one, other in pairwise(ranked) if one.tier is other.tier)


@given(_HITS, _FITS, st.floats(0, 1))
def test_scores_are_calibrated_and_min_score_is_kept(hits, fits, least):
    for place in rank(hits, fits, least):
        assert least <= place.score <= 1 or (place.tier is not Tier.REST and place.score >= BORDER)
        assert place.weak == (place.tier is Tier.REST and place.score < BORDER)


@given(_HITS, _FITS, st.floats(0, 1))
def test_a_literal_hit_is_never_lost(hits, fits, least):
    assert hits.pattern_ids <= {place.pattern_id for place in rank(hits, fits, least)}


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
        patch.setattr("treering_query.slices.SLICE_ROWS", slice_rows)
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
        assert scan.hits == Hits(frozenset(whole), frozenset(all_words - whole))
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
