"""SearchLogs from the request to the answer."""

import time
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import structlog

from treering.v1 import query_pb2 as pb
from treering.v1.embed_pb2 import SearchPatternsRequest
from treering.v1.error_pb2 import ErrorReason
from treering_query import limits
from treering_query.meaning.embed_client import EmbedUnavailable, MeaningAnswer
from treering_query.meaning.meant import NOTHING, Meant
from treering_query.search.answer import Answer
from treering_query.search.finding import SearchCandidates, find
from treering_query.search.judge import Judge
from treering_query.search.like import resolved
from treering_query.search.pattern_texts_cache import PatternTextsCache
from treering_query.search.request import Search, checked
from treering_query.view.cost import Timing
from treering_query.view.port import Records
from treering_query.view.snapshot import Snapshot
from treering_runtime.errors import ServiceError
from treering_runtime.patterns import MASK_VERSION

_LOG = structlog.get_logger()

T = TypeVar("T")

_SPARE_PATTERNS = 32
"""Patterns asked for beyond the limit: the embed service may know some that this snapshot does not hold yet."""

_EMBED_SHARE = 0.8
"""Part of the remaining time that the embed service may use, so that there is time left to answer without it."""


@dataclass(frozen=True)
class Begun:
    """The first half of a search, and what the embed service is asked; None when it is not."""

    search: Search
    found: SearchCandidates
    question: SearchPatternsRequest | None


@dataclass(frozen=True)
class Judged:
    """Scores by meaning, None where shared words decide; and what is missing, in words for people."""

    answer: MeaningAnswer | None
    degraded_because: str = ""


class Searcher:
    """Answers SearchLogs. Stateless but for the cached pattern table.

    Args:
        store: Where records and patterns are.
        meaning: The embed service.
    """

    def __init__(self, store: Records, judge: Judge) -> None:
        self._store = store
        self._judge = judge
        self._texts = PatternTextsCache()

    async def search_logs(
        self, request: pb.SearchLogsRequest, timeout_s: float | None, meant: Meant = NOTHING, timing: Timing | None = None
    ) -> pb.SearchLogsResponse:
        """The best results for a text; `timeout_s` None = `limits.DEFAULT_DEADLINE_S`, `meant` scores the filter's `about`.

        `timing` None = the question begins now.

        Raises:
            ServiceError: INVALID_FIELD, TIMED_OUT; NOT_FOUND for a record that is not there;
                PEER_UNAVAILABLE in mode semantic without the embed service.
        """
        # Before anything is waited for: a wrong request gets its answer at once.
        search = checked(request, meant)
        timing = timing or Timing()
        end = time.monotonic() + (limits.DEFAULT_DEADLINE_S if timeout_s is None else timeout_s)
        # Before the snapshot, which shows what is visible when it is taken.
        with timing.waiting():
            await self._store.wait_visible(search.min_positions, _left(end))
        with self._store.snapshot() as snapshot:
            # All that grows with the patterns is done in the two halves on the store's threads, the question's message included.
            begun = await self._store.run(snapshot, partial(self._begun, search), _left(end))
            judged = await self._judged(begun, end)
            response = await self._store.run(snapshot, partial(_answered, begun, judged), _left(end))
            response.cost.CopyFrom(timing.cost(snapshot))
            return response

    def _begun(self, search: Search, snapshot: Snapshot) -> Begun:
        # On the thread: a new table is a copy of all patterns.
        texts = self._texts.of(snapshot.view)
        whole = resolved(snapshot, texts, search)
        found = find(snapshot, texts, whole)
        return Begun(whole, found, None if search.mode == pb.SEARCH_MODE_KEYWORD else _question(whole, found))

    async def _judged(self, begun: Begun, end: float) -> Judged:
        if begun.question is None:
            return Judged(None)
        try:
            answer = await self._judge.search(begun.question, _embed_time(begun.search, end))
        # Words still find something, and the answer says what is missing.
        except EmbedUnavailable as error:
            _LOG.warning("search without meaning", problem=error.reason)
            return _without_meaning(begun.search, error)
        # With other rules the same message has another id there: its scores would be of other patterns.
        if answer.mask_version != MASK_VERSION:
            reason = f"embed masks by rules {answer.mask_version}, query by {MASK_VERSION}; run one version of both"
            return _without_meaning(begun.search, EmbedUnavailable(reason))
        pending = (
            f"{answer.pending_count} patterns wait for their vector and cannot be found by meaning yet" if answer.pending_count else ""
        )
        return Judged(answer, "; ".join(filter(None, (pending, _by_words_only(begun, answer)))))


def _by_words_only(begun: Begun, answer: MeaningAnswer) -> str:
    """How many of the patterns that may be found embed does not know: they gave way to others there, or a cap was reached."""
    total = len(begun.found.texts.ids)
    if begun.question is not None and begun.question.HasField("restrict_to"):
        # It was asked of these patterns by id and says how many of them it does not know.
        total, unknown = len(begun.question.restrict_to.pattern_ids), answer.unknown_count
    else:
        # Two counts of two moments: the difference may be below 0.
        unknown = max(0, total - answer.pattern_count) if answer.pattern_count else 0
    return f"{unknown} of {total} patterns have no vector and are found by their words only" if unknown else ""


def _without_meaning(search: Search, error: EmbedUnavailable) -> Judged:
    # The caller asked for a position and gets no answer that may lack it.
    if error.waiting_for:
        message = f"offset {error.waiting_for} was not indexed in time; ask again with more time"
        raise ServiceError(ErrorReason.ERROR_REASON_TIMED_OUT, message, metadata={"waiting_for": error.waiting_for})
    # Words would be something else than what was asked for.
    if search.mode == pb.SEARCH_MODE_SEMANTIC:
        message = f"{error.reason}; try again, or search in mode hybrid or keyword, which answer without it"
        raise ServiceError(ErrorReason.ERROR_REASON_PEER_UNAVAILABLE, message, metadata={"peer": "embed"})
    return Judged(None, f"{error.reason}: literal hits and shared words only")


def _answered(begun: Begun, judged: Judged, snapshot: Snapshot) -> pb.SearchLogsResponse:
    search, found, answer = begun.search, begun.found, judged.answer
    # One of the two, never a mixture: their numbers are not on one scale.
    fits = found.by_words(search.text) if answer is None else found.by_meaning(answer.pattern_ids, answer.scores)
    ranking = found.order(search, fits)
    words_only = frozenset() if answer is None else found.unscored(answer.pattern_ids)
    whole = Answer(search, found, ranking, words_only, by_meaning=answer is not None, degraded_because=judged.degraded_because)
    return whole.write(snapshot)


def _question(search: Search, found: SearchCandidates) -> SearchPatternsRequest:
    narrow = not search.predicate.services_only
    request = SearchPatternsRequest(
        text=search.text,
        # Shown ones are left out here and not by embed, so it has to give as many more.
        limit=len(search.shown.pattern_ids) + search.limit + _SPARE_PATTERNS,
        services=[] if narrow else sorted(search.predicate.services or ()),
        also_score_ids=found.to_score,
        min_positions=search.min_positions,
    )
    if narrow:
        request.restrict_to.SetInParent()  # set and empty = none
        # The whole list of what may be found, by value: embed does not know the filter.
        request.restrict_to.pattern_ids.extend(found.texts.ids[found.allowed].tolist())
    return request


def _embed_time(search: Search, end: float) -> float:
    # Who waits for a position would rather have a late answer than one without it.
    return _left(end) if search.min_positions else min(limits.EMBED_TIMEOUT_S, _left(end) * _EMBED_SHARE)


def _left(end: float) -> float:
    return max(0.0, end - time.monotonic())
