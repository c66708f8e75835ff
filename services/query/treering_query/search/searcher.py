"""SearchLogs from the request to the answer."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

import structlog

from treering.v1 import query_pb2 as pb
from treering.v1.error_pb2 import ErrorReason
from treering_query import limits
from treering_query.embed_client import EmbedUnavailable, MeaningAnswer, MeaningQuery
from treering_query.meant import NOTHING, Meant
from treering_query.search.answer import Answer
from treering_query.search.finding import Found, find
from treering_query.search.like import resolved
from treering_query.search.pattern_texts import PatternTexts, PatternTextsCache
from treering_query.search.request import Search, checked
from treering_query.store.snapshot import Snapshot
from treering_runtime.errors import ServiceError
from treering_runtime.patterns import MASK_VERSION
from treering_runtime.progress import ProgressBoard

_LOG = structlog.get_logger()

T = TypeVar("T")

_SPARE_PATTERNS = 32
"""Patterns asked for beyond the limit: the embed service may know some that this snapshot does not hold yet."""

_EMBED_SHARE = 0.8
"""Part of the remaining time that the embed service may use, so that there is time left to answer without it."""


class Records(Protocol):
    """The store, as far as searches need it."""

    board: ProgressBoard

    def snapshot(self) -> Snapshot:
        """Everything that is visible now."""

    async def run(self, snapshot: Snapshot, work: Callable[[Snapshot], T], timeout_s: float | None = None) -> T:
        """Runs blocking work on a thread."""


class Meaning(Protocol):
    """Who scores patterns by meaning."""

    async def search(self, query: MeaningQuery, timeout_s: float) -> MeaningAnswer:
        """Scores of the patterns that are closest in meaning; raises EmbedUnavailable."""


@dataclass(frozen=True)
class Fits:
    """Scores 0..1 of the rest, whether they are of meaning (or of words), and what is missing, in words for people."""

    scores: Mapping[int, float]
    by_meaning: bool
    degraded_because: str = ""


class Searcher:
    """Answers SearchLogs. Stateless but for the cached pattern table.

    Args:
        store: Where records and patterns are.
        meaning: The embed service.
    """

    def __init__(self, store: Records, meaning: Meaning) -> None:
        self._store = store
        self._meaning = meaning
        self._texts = PatternTextsCache()

    async def search_logs(self, request: pb.SearchLogsRequest, timeout_s: float | None, meant: Meant = NOTHING) -> pb.SearchLogsResponse:
        """The best results for a text; `timeout_s` None = `limits.DEFAULT_DEADLINE_S`, `meant` scores the filter's `about`.

        Raises:
            ServiceError: INVALID_FIELD, TIMED_OUT; NOT_FOUND for a record that is not there;
                PEER_UNAVAILABLE in mode semantic without the embed service.
        """
        search = checked(request, meant)
        end = time.monotonic() + (limits.DEFAULT_DEADLINE_S if timeout_s is None else timeout_s)
        await self._store.board.wait_visible(search.min_positions, _left(end))
        with self._store.snapshot() as snapshot:
            texts = self._texts.of(snapshot.view)
            search, found = await self._store.run(snapshot, lambda moment: _begun(moment, texts, search), _left(end))
            fits = await self._fits(search, found, end)
            ranked = found.order(search, fits.scores)
            answer = Answer(search, found, ranked, by_meaning=fits.by_meaning, degraded_because=fits.degraded_because)
            return await self._store.run(snapshot, answer.write, _left(end))

    async def _fits(self, search: Search, found: Found, end: float) -> Fits:
        if search.mode == pb.SEARCH_MODE_KEYWORD:
            return await self._by_words(search, found, "")
        try:
            answer = await self._meaning.search(_meaning_query(search, found), _embed_time(search, end))
        except EmbedUnavailable as error:
            _LOG.warning("search without meaning", problem=error.reason)
            return await self._without_meaning(search, found, error)
        if answer.mask_version != MASK_VERSION:
            reason = f"embed masks by rules {answer.mask_version}, query by {MASK_VERSION}; run one version of both"
            return await self._without_meaning(search, found, EmbedUnavailable(reason))
        pending = (
            f"{answer.pending_count} patterns wait for their vector and cannot be found by meaning yet" if answer.pending_count else ""
        )
        return Fits(answer.scores, by_meaning=True, degraded_because=pending)

    async def _without_meaning(self, search: Search, found: Found, error: EmbedUnavailable) -> Fits:
        if error.waiting_for:
            message = f"offset {error.waiting_for} was not indexed in time; ask again with more time"
            raise ServiceError(ErrorReason.ERROR_REASON_TIMED_OUT, message, metadata={"waiting_for": error.waiting_for})
        if search.mode == pb.SEARCH_MODE_SEMANTIC:
            message = f"{error.reason}; try again, or search in mode hybrid or keyword, which answer without it"
            raise ServiceError(ErrorReason.ERROR_REASON_PEER_UNAVAILABLE, message, metadata={"peer": "embed"})
        return await self._by_words(search, found, f"{error.reason}: literal hits and shared words only")

    async def _by_words(self, search: Search, found: Found, degraded_because: str) -> Fits:
        scores = await asyncio.to_thread(found.texts.words, search.text, found.allowed)
        return Fits(scores, by_meaning=False, degraded_because=degraded_because)


def _begun(snapshot: Snapshot, texts: PatternTexts, search: Search) -> tuple[Search, Found]:
    whole = resolved(snapshot, texts, search)
    return whole, find(snapshot, texts, whole)


def _meaning_query(search: Search, found: Found) -> MeaningQuery:
    narrow = not search.predicate.services_only
    return MeaningQuery(
        text=search.text,
        limit=len(search.shown.pattern_ids) + search.limit + _SPARE_PATTERNS,
        services=[] if narrow else sorted(search.predicate.services or ()),
        restrict_to=sorted(found.allowed) if narrow else None,
        also_score_ids=found.to_score,
        min_positions=search.min_positions,
    )


def _embed_time(search: Search, end: float) -> float:
    return _left(end) if search.min_positions else min(limits.EMBED_TIMEOUT_S, _left(end) * _EMBED_SHARE)


def _left(end: float) -> float:
    return max(0.0, end - time.monotonic())
