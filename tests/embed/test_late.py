from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from treering_embed.encoder import unit
from treering_embed.encoder.late import PieceFrequencies, derive_basis, project, query_tokens
from treering_embed.limits import LATE_DIMENSION


def test_a_basis_is_orthonormal_and_keeps_what_differs_most() -> None:
    rows = np.random.default_rng(1).standard_normal((800, 200)).astype(np.float32)
    rows[:, :5] *= 10
    basis = derive_basis(rows)
    assert basis.shape == (200, LATE_DIMENSION)
    np.testing.assert_allclose(basis.T @ basis, np.eye(LATE_DIMENSION), atol=1e-4)
    assert np.linalg.norm(basis[:5], axis=1).min() > 0.99


def test_a_model_with_short_token_vectors_fills_up_with_zeros() -> None:
    basis = derive_basis(np.random.default_rng(1).standard_normal((50, 8)).astype(np.float32))
    assert basis.shape == (8, LATE_DIMENSION)
    np.testing.assert_allclose(np.linalg.norm(basis, axis=0)[8:], 0)


def test_a_text_without_wordpieces_is_one_row_of_zeros() -> None:
    basis = derive_basis(np.eye(8, dtype=np.float32))
    nothing = np.zeros((0, 8), np.float32)
    assert not project(nothing, basis).any()
    assert query_tokens(nothing, np.zeros(0, np.int64), basis, PieceFrequencies()).shape == (1, LATE_DIMENSION)


def test_rare_words_weigh_more_and_weights_sum_to_one() -> None:
    frequencies = PieceFrequencies.over([np.array([1, 2]), np.array([1, 3]), np.array([1, 1])])
    weights = frequencies.weights(np.array([1, 2, 999]))
    assert weights[0] < weights[1] < weights[2]
    np.testing.assert_allclose(weights.sum(), 1.0, rtol=1e-6)


@given(st.lists(st.lists(st.integers(0, 200), max_size=8), max_size=20))
def test_frequencies_agree_with_plain_counting_and_survive_storage(documents: list[Any]) -> None:
    frequencies = PieceFrequencies.over(np.array(document, np.int64) for document in documents)
    again = PieceFrequencies.from_bytes(frequencies.to_bytes())
    pieces = np.arange(201)
    counts = np.array([sum(piece in document for document in documents) for piece in pieces])
    idf = np.log1p((len(documents) - counts + 0.5) / (counts + 0.5))
    np.testing.assert_allclose(again.weights(pieces), idf / idf.sum(), rtol=1e-4)


def test_projected_rows_are_unit() -> None:
    rows = unit(np.random.default_rng(3).standard_normal((40, 64)).astype(np.float32))
    np.testing.assert_allclose(np.linalg.norm(project(rows, derive_basis(rows)), axis=1), 1, rtol=1e-5)
