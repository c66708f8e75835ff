"""Late interaction: a text is compared with a pattern word by word (MaxSim), after ColBERT (Khattab and Zaharia, 2020).

For each wordpiece of the query the closest wordpiece of the pattern counts, weighted by how rare the query's wordpiece is. Token vectors
are projected onto a fixed basis first: fewer numbers, the same order.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from treering_embed.encoder import Ids, Matrix, unit
from treering_embed.limits import LATE_DIMENSION


def derive_basis(tokens: Matrix) -> Matrix:
    """The directions in which token vectors differ most, by singular value decomposition.

    (token dimension, `LATE_DIMENSION`); columns of zeros where the model has fewer.
    """
    # In double precision: the small directions would be lost in the rounding of a sum over thousands of wordpieces.
    gram = tokens.T.astype(np.float64) @ tokens
    _, vectors = np.linalg.eigh(gram)
    # `eigh` gives the eigenvalues in ascending order: the directions that matter most are the last columns.
    best = vectors[:, ::-1][:, :LATE_DIMENSION]
    basis: Matrix = np.ascontiguousarray(np.pad(best, ((0, 0), (0, LATE_DIMENSION - best.shape[1]))), np.float32)
    return basis


def project(tokens: Matrix, basis: Matrix) -> Matrix:
    """Token vectors as they are stored: (wordpieces, `LATE_DIMENSION`), unit rows; a text without wordpieces is one row of zeros."""
    if not len(tokens):
        return np.zeros((1, basis.shape[1]), np.float32)
    return unit(tokens @ basis)


class PieceFrequencies:
    """In how many patterns each wordpiece occurs; grows with the registry. Counts of sample texts start it, so that it is never empty."""

    def __init__(self, documents: int = 0, counts: NDArray[np.uint32] | None = None) -> None:
        self.documents = documents
        self._counts = np.zeros(0, np.uint32) if counts is None else counts

    @classmethod
    def over(cls, texts: Iterable[Ids]) -> "PieceFrequencies":
        """Counts texts."""
        frequencies = cls()
        for pieces in texts:
            frequencies.add(pieces)
        return frequencies

    @classmethod
    def from_bytes(cls, content: bytes) -> "PieceFrequencies":
        """Reads what `to_bytes` wrote."""
        numbers = np.frombuffer(content, np.uint32)
        return cls(int(numbers[0]), numbers[1:].copy())

    def to_bytes(self) -> bytes:
        """Number of patterns, then the counts by wordpiece: uint32, little endian."""
        return np.concatenate([np.array([self.documents], np.uint32), self._counts]).tobytes()

    def add(self, pieces: Ids) -> None:
        """Counts one more pattern."""
        # Once a pattern, however often the wordpiece stands in it: a document frequency.
        distinct = np.unique(pieces)
        if len(distinct) and distinct[-1] >= len(self._counts):
            self._counts = np.pad(self._counts, (0, int(distinct[-1]) + 1 - len(self._counts)))
        self._counts[distinct] += 1
        self.documents += 1

    def plus(self, texts: Iterable[Ids]) -> "PieceFrequencies":
        """These counts and those of more patterns; this one stays as it is."""
        # Not in place: a search on another thread may read the old array.
        more = PieceFrequencies(self.documents, self._counts.copy())
        for pieces in texts:
            more.add(pieces)
        return more

    def become(self, other: "PieceFrequencies") -> None:
        """Takes the counts of another one, which is not used after."""
        self.documents, self._counts = other.documents, other._counts  # noqa: SLF001 - of the same class

    def weights(self, pieces: Ids) -> Matrix:
        """Inverse document frequency of wordpieces (as in BM25), scaled to a sum of 1."""
        # A wordpiece that no pattern has yet is looked up at 0 and counted as 0, so it weighs most.
        known = pieces < len(self._counts)
        counts = np.where(known, self._counts[np.where(known, pieces, 0)], 0) if len(self._counts) else np.zeros(len(pieces))
        idf = np.log1p((self.documents - counts + 0.5) / (counts + 0.5))
        weights: Matrix = (idf / max(idf.sum(), 1e-9)).astype(np.float32)
        return weights


def query_tokens(tokens: Matrix, pieces: Ids, basis: Matrix, frequencies: PieceFrequencies) -> Matrix:
    """The query's side: projected token vectors, each scaled by its weight, so that the sum of best products is the weighted mean."""
    if not len(tokens):
        return np.zeros((1, basis.shape[1]), np.float32)
    scaled: Matrix = project(tokens, basis) * frequencies.weights(pieces)[:, None]
    return scaled
