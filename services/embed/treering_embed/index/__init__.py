"""Vectors of patterns in Qdrant, behind one protocol: embedded (`edge`) or a server or cluster (`server`).

A point is a pattern: its id, a dense vector, the vectors of its wordpieces, its service as payload. The index is a view of the registry
and can be rebuilt from it at any time. Its identity says which model and which rules made it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from treering_embed.encoder import Matrix

DENSE = "dense"
TOKENS = "tokens"
SERVICE = "service"


@dataclass(frozen=True)
class PatternPoint:
    """One pattern: dense (dimension,), tokens (wordpieces, late dimension)."""

    pattern_id: int
    service: str
    dense: NDArray[np.float32]
    tokens: Matrix


@dataclass(frozen=True)
class IndexSelection:
    """Which patterns a query may return: None = all; both conditions hold together."""

    pattern_ids: frozenset[int] | None = None
    services: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing can match."""
        return self.pattern_ids is not None and not self.pattern_ids


EVERYTHING = IndexSelection()


@dataclass(frozen=True)
class IndexHits:
    """Patterns and scores, best first: uint64 (n,), float32 (n,)."""

    pattern_ids: NDArray[np.uint64]
    scores: NDArray[np.float32]

    @classmethod
    def of(cls, pattern_ids: Sequence[int], scores: Sequence[float]) -> "IndexHits":
        """From lists of the same length."""
        return cls(np.fromiter(pattern_ids, np.uint64, len(pattern_ids)), np.fromiter(scores, np.float32, len(scores)))

    def __add__(self, other: "IndexHits") -> "IndexHits":
        return IndexHits(np.concatenate([self.pattern_ids, other.pattern_ids]), np.concatenate([self.scores, other.scores]))

    def as_dict(self) -> dict[int, float]:
        """Score by id."""
        return dict(zip(self.pattern_ids.tolist(), self.scores.tolist(), strict=True))


class IndexFaultError(Exception):
    """The index cannot do what was asked at the moment (disk, network, peer): worth another attempt later. The message says why."""


class Index(Protocol):
    """Where vectors are kept. Calls block and may come from several threads; every one may raise `IndexFaultError`."""

    kind: str
    """`edge` or `server`."""

    def upsert(self, points: Sequence[PatternPoint]) -> None:
        """Adds or replaces points; idempotent. Durable after `flush`.

        Raises:
            ValueError: A vector is not finite.
        """

    def flush(self) -> None:
        """Makes everything upserted and deleted durable."""

    def delete(self, pattern_ids: Sequence[int]) -> None:
        """Removes points; unknown ids change nothing. Durable after `flush`."""

    def all_ids(self) -> NDArray[np.uint64]:
        """The ids of all points, in any order."""

    def nearest(self, dense: NDArray[np.float32], limit: int, selection: IndexSelection = EVERYTHING) -> IndexHits:
        """The points with the greatest cosine to a vector, by exact search."""

    def late(self, tokens: Matrix, pattern_ids: frozenset[int]) -> IndexHits:
        """For the points named, the sum over `tokens` of the greatest product with any of the point's token vectors."""

    def expose(self) -> None:
        """Lets people reach this index by the name that does not change, where there is one. Idempotent."""

    def close(self) -> None:
        """Lets go of the index."""


def check_finite(points: Sequence[PatternPoint]) -> None:
    """Refuses vectors that hold NaN or infinity: engines take them, and every later score is wrong.

    Raises:
        ValueError: Names the pattern.
    """
    for point in points:
        # NaN compares as false with everything: such a point would sort anywhere in every search, and nothing would report it.
        if not (np.isfinite(point.dense).all() and np.isfinite(point.tokens).all()):
            raise ValueError(f"pattern {point.pattern_id}: its vector is not finite")
