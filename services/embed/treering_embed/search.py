"""Ranking of patterns by meaning: dense first, late interaction over the best of these, one calibrated score."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from treering_embed import calibration
from treering_embed.encoder import Matrix
from treering_embed.encoder.queue import Urgency
from treering_embed.engine import Engine
from treering_embed.index import Selection
from treering_embed.late import query_tokens
from treering_embed.limits import RERANK_DEPTH


@dataclass(frozen=True)
class Ranking:
    """Patterns, best first: ids uint64, and float32 score, dense and late similarity; late is 0 where it was not computed."""

    pattern_ids: NDArray[np.uint64]
    scores: NDArray[np.float32]
    dense: NDArray[np.float32]
    late: NDArray[np.float32]


@dataclass(frozen=True)
class Query:
    """A text as the index is asked: its dense vector, and its weighted token vectors."""

    dense: NDArray[np.float32]
    tokens: Matrix


class Searcher:
    """Answers questions to the index. Lives as long as the engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def encode(self, texts: Sequence[str]) -> list[Query]:
        """Texts as queries, ahead of everything else that waits for the model."""
        encoded = await self._engine.encoder.encode(texts, Urgency.SEARCH)
        return [
            Query(dense, query_tokens(tokens, pieces, self._engine.basis, self._engine.frequencies))
            for dense, tokens, pieces in zip(encoded.dense, encoded.tokens, encoded.pieces, strict=True)
        ]

    async def rank(self, query: Query, limit: int, selection: Selection, also: Sequence[int] = ()) -> Ranking:
        """The `limit` best patterns of `selection`, and those of `also` that are indexed.

        Raises:
            IndexFaultError: The index does not answer.
        """
        return await self._engine.index_threads.run(self._rank, query, limit, selection, also)

    def _rank(self, query: Query, limit: int, selection: Selection, also: Sequence[int]) -> Ranking:
        dense = self._engine.index.nearest(query.dense, max(limit, RERANK_DEPTH), selection).as_dict()
        candidates = list(dense)[:RERANK_DEPTH]
        if missing := frozenset(also) - dense.keys():
            dense |= self._engine.index.nearest(query.dense, len(missing), Selection(missing)).as_dict()
        late = self._engine.index.late(query.tokens, frozenset(candidates) | (frozenset(also) & dense.keys())).as_dict()
        return _cut(combine(dense, late), limit, also)


def combine(dense: dict[int, float], late: dict[int, float]) -> Ranking:
    """Ranks patterns by the sum of their similarities.

    Where late interaction was not computed, the least of the computed ones stands in for it: such a pattern was too far away to be
    looked at, and must not pass one that was.
    """
    ids = np.fromiter(dense, np.uint64, len(dense))
    near = np.fromiter(dense.values(), np.float32, len(dense))
    word = np.fromiter((late.get(key, 0.0) for key in dense), np.float32, len(dense))
    computed = np.fromiter((key in late for key in dense), bool, len(dense))
    assumed = np.where(computed, word, min(late.values(), default=0.0))
    scores = calibration.score(near + assumed)
    order = np.argsort(-(near + assumed), kind="stable")
    return Ranking(ids[order], scores[order], near[order], word[order])


def _cut(ranking: Ranking, limit: int, also: Sequence[int]) -> Ranking:
    """The first `limit`, and those of `also` below."""
    kept = np.arange(len(ranking.pattern_ids)) < limit
    if also:
        kept |= np.isin(ranking.pattern_ids, np.array(also, np.uint64))
    return Ranking(ranking.pattern_ids[kept], ranking.scores[kept], ranking.dense[kept], ranking.late[kept])
