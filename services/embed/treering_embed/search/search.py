"""Ranking of patterns by meaning: dense first, late interaction over the best of these, one calibrated score."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from treering_embed.encoder import Matrix
from treering_embed.encoder.late import query_tokens
from treering_embed.encoder.queue import Urgency
from treering_embed.engine.engine import Engine
from treering_embed.index import IndexHits, IndexSelection
from treering_embed.limits import RERANK_DEPTH
from treering_embed.search import calibration
from treering_runtime.patterns import NO_PATTERN, PatternIds, places_among


@dataclass(frozen=True)
class IndexRanking:
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


class IndexSearcher:
    """Answers questions to the index, by the ids that other services know. Lives as long as the engine.

    Args:
        engine: What answers.
        ids: Translate.
    """

    def __init__(self, engine: Engine, ids: PatternIds) -> None:
        self._engine, self._ids = engine, ids

    async def encode(self, texts: Sequence[str]) -> list[Query]:
        """Texts as queries, ahead of everything else that waits for the model."""
        encoded = await self._engine.encoder.encode(texts, Urgency.SEARCH)
        return [
            Query(dense, query_tokens(tokens, pieces, self._engine.basis, self._engine.frequencies))
            for dense, tokens, pieces in zip(encoded.dense, encoded.tokens, encoded.pieces, strict=True)
        ]

    async def rank(self, query: Query, limit: int, selection: IndexSelection, also: Sequence[int] = ()) -> IndexRanking:
        """The `limit` best patterns of `selection`, and those of `also` that are indexed.

        Raises:
            IndexFaultError: The index does not answer.
        """
        # One call to the thread for all steps: the event loop waits once.
        return await self._engine.index_threads.run(self._translated, query, limit, selection, also)

    def _translated(self, query: Query, limit: int, selection: IndexSelection, also: Sequence[int]) -> IndexRanking:
        found = self._rank(query, limit, self._stored(selection), self._ids.to_stored(np.array(also, np.uint64)).tolist())
        ids = self._ids.to_wire(found.pattern_ids)
        # A pattern that other services cannot name is of no use to them.
        known = ids != NO_PATTERN
        return IndexRanking(ids[known], found.scores[known], found.dense[known], found.late[known])

    def _stored(self, selection: IndexSelection) -> IndexSelection:
        if selection.pattern_ids is None:
            return selection
        ids = np.fromiter(selection.pattern_ids, np.uint64, len(selection.pattern_ids))
        return dataclasses.replace(selection, pattern_ids=frozenset(self._ids.to_stored(ids).tolist()))

    def _rank(self, query: Query, limit: int, selection: IndexSelection, also: Sequence[int]) -> IndexRanking:
        index, wanted = self._engine.index, np.array(also, np.uint64)
        # At least as deep as the second look: the best by words may be anywhere in these.
        dense = index.nearest(query.dense, max(limit, RERANK_DEPTH), selection)
        candidates = dense.pattern_ids[:RERANK_DEPTH]
        if len(wanted):
            # Only those that the first search did not return: each pattern may be there once, or it would be ranked twice.
            missing = np.setdiff1d(wanted, dense.pattern_ids)
            dense += index.nearest(query.dense, len(missing), IndexSelection(frozenset(missing.tolist())))
            # Those named are looked at word by word, wherever the dense vector ranks them.
            candidates = np.union1d(candidates, np.intersect1d(wanted, dense.pattern_ids))
        late = index.late(query.tokens, frozenset(candidates.tolist()))
        return _cut(combine(dense, late), limit, also)


def combine(dense: IndexHits, late: IndexHits) -> IndexRanking:
    """Ranks the patterns of `dense`, each there once, by the sum of their similarities.

    Where late interaction was not computed, the least of the computed ones stands in for it: such a pattern was too far away to be
    looked at, and must not pass one that was.
    """
    word, computed = _lookup(late, dense.pattern_ids)
    least = late.scores.min() if len(late.scores) else np.float32(0)
    similarity = dense.scores + np.where(computed, word, least)
    # `stable`: equal scores keep the order of the dense search, so the same question gives the same list.
    order = np.argsort(-similarity, kind="stable")
    return IndexRanking(dense.pattern_ids[order], calibration.score(similarity[order]), dense.scores[order], word[order])


def _lookup(hits: IndexHits, pattern_ids: NDArray[np.uint64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The scores of some patterns, 0 where `hits` has none, and where it has one."""
    found = np.zeros(len(pattern_ids), np.float32)
    order = np.argsort(hits.pattern_ids)
    known = hits.pattern_ids[order]
    place, is_known = places_among(pattern_ids, known)
    found[is_known] = hits.scores[order][place[is_known]]
    return found, is_known


def _cut(ranking: IndexRanking, limit: int, also: Sequence[int]) -> IndexRanking:
    """The first `limit`, and those of `also` below."""
    kept = np.arange(len(ranking.pattern_ids)) < limit
    if also:
        kept |= np.isin(ranking.pattern_ids, np.array(also, np.uint64))
    return IndexRanking(ranking.pattern_ids[kept], ranking.scores[kept], ranking.dense[kept], ranking.late[kept])
