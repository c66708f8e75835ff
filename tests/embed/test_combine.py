"""Adding two similarities up, against a twin that does it one pattern at a time."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from treering_embed.index import IndexHits
from treering_embed.search import calibration
from treering_embed.search.search import combine

IDS = st.integers(0, 2**64 - 1)
SCORES = st.floats(-1, 1, width=32)


@st.composite
def similarities(draw):
    dense = draw(st.dictionaries(IDS, SCORES, max_size=30))
    late = draw(st.dictionaries(st.sampled_from(sorted(dense)), SCORES)) if dense else {}
    return dense, late


def twin(dense: dict[int, float], late: dict[int, float]) -> list[tuple[int, np.float32, float, float]]:
    least = min(late.values(), default=0.0)
    sums = {key: np.float32(score) + np.float32(late.get(key, least)) for key, score in dense.items()}
    ranked = sorted(dense, key=sums.__getitem__, reverse=True)
    return [(key, calibration.score(np.array([sums[key]]))[0], dense[key], late.get(key, 0.0)) for key in ranked]


@given(similarities())
def test_columns_rank_as_the_plain_twin(given_similarities):
    dense, late = given_similarities
    found = combine(IndexHits.of(list(dense), list(dense.values())), IndexHits.of(list(late), list(late.values())))
    ranked = list(zip(found.pattern_ids.tolist(), found.scores, found.dense.tolist(), found.late.tolist(), strict=True))
    assert ranked == twin(dense, late)


def test_a_pattern_that_was_not_looked_at_does_not_pass_the_last_that_was():
    found = combine(IndexHits.of([1, 2, 3], [0.9, 0.8, 0.7]), IndexHits.of([2, 1], [0.1, 0.4]))
    assert found.pattern_ids.tolist() == [1, 2, 3]
    assert found.scores[2] == calibration.score(np.array([0.8], np.float32))[0]
