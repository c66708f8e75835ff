"""What every index must do, run against each engine."""

import numpy as np
import pytest
from embed_doubles import DIMENSION, LARGE, point, rows

from treering_embed.index import IndexSelection, PatternPoint
from treering_embed.index.edge import EdgeIndex
from treering_embed.index.server import ServerIndex
from treering_embed.limits import LATE_DIMENSION


@pytest.fixture(params=["edge", "server"])
def index(request, tmp_path):
    if request.param == "edge":
        opened = EdgeIndex(tmp_path / "index", DIMENSION)
    else:
        opened = ServerIndex(request.getfixturevalue("local_qdrant"), "treering-x", "treering", DIMENSION)
    yield opened
    opened.close()


def ids(hits) -> list[int]:
    return hits.pattern_ids.tolist()


def test_an_empty_index_answers_nothing(index):
    assert ids(index.nearest(rows(1, 1, DIMENSION)[0], 10)) == []
    assert index.all_ids().tolist() == []
    assert ids(index.late(rows(1, 2, LATE_DIMENSION), frozenset())) == []


def test_nearest_is_exact_and_best_first(index):
    points = [point(number) for number in range(1, 60)]
    index.upsert(points)
    query = rows(99, 1, DIMENSION)[0]
    wanted = sorted(points, key=lambda p: -float(p.dense @ query))[:10]
    hits = index.nearest(query, 10)
    assert ids(hits) == [p.pattern_id for p in wanted]
    np.testing.assert_allclose(hits.scores, [p.dense @ query for p in wanted], atol=1e-4)


def test_late_interaction_is_the_sum_of_the_best_products(index):
    points = [point(number, words=1 + number % 5) for number in range(1, 20)]
    index.upsert(points)
    query = rows(5, 4, LATE_DIMENSION) * np.array([[0.4], [0.3], [0.2], [0.1]], np.float32)
    hits = index.late(query, frozenset({3, 7, 11}))
    assert set(ids(hits)) == {3, 7, 11}
    for key, score in hits.as_dict().items():
        wanted = (query @ points[key - 1].tokens.T).max(axis=1).sum()
        assert score == pytest.approx(wanted, abs=2e-3)


def test_selection_by_ids_and_services_holds_together(index):
    index.upsert([point(number, service=f"s{number % 3}") for number in range(1, 13)])
    query = rows(2, 1, DIMENSION)[0]
    assert set(ids(index.nearest(query, 50, IndexSelection(frozenset({1, 2, 3, 77}))))) == {1, 2, 3}
    assert set(ids(index.nearest(query, 50, IndexSelection(None, ("s0", "s1"))))) == {1, 3, 4, 6, 7, 9, 10, 12}
    assert ids(index.nearest(query, 50, IndexSelection(frozenset({1, 2, 3}), ("s2",)))) == [2]
    assert ids(index.nearest(query, 50, IndexSelection(frozenset()))) == []


def test_upsert_is_idempotent_and_replaces(index):
    index.upsert([point(5), point(5)])
    index.upsert([point(5, seed=1234)])
    assert index.all_ids().tolist() == [5]
    assert index.nearest(rows(1234, 1, DIMENSION)[0], 1).scores[0] == pytest.approx(1.0, abs=1e-4)


def test_ids_of_64_bits_come_back_whole(index):
    index.upsert([point(LARGE), point(1 << 63)])
    assert set(index.all_ids().tolist()) == {LARGE, 1 << 63}
    assert ids(index.nearest(point(LARGE).dense, 1)) == [LARGE]


def test_delete_ignores_unknown_ids(index):
    index.upsert([point(1), point(2)])
    index.delete([2, 999])
    index.flush()
    assert index.all_ids().tolist() == [1]


@pytest.mark.parametrize("where", ["dense", "tokens"])
def test_vectors_that_are_not_finite_are_refused_and_nothing_is_stored(index, where):
    bad = point(8)
    getattr(bad, where)[0] = np.nan
    with pytest.raises(ValueError, match="pattern 8"):
        index.upsert([point(1), bad])
    assert index.all_ids().tolist() == []


def test_a_pattern_without_words_can_be_stored(index):
    index.upsert([PatternPoint(4, "", rows(1, 1, DIMENSION)[0], np.zeros((1, LATE_DIMENSION), np.float32))])
    assert index.late(rows(1, 2, LATE_DIMENSION), frozenset({4})).scores.tolist() == [0.0]
