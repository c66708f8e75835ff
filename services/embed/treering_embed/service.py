"""Handlers of `EmbedService` and `EmbedAdminService`: translate, delegate, translate."""

import functools
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TypeVar

import grpc
import numpy as np
from numpy.typing import NDArray

from treering.v1 import admin_pb2, embed_pb2
from treering.v1.admin_pb2_grpc import EmbedAdminServiceServicer
from treering.v1.embed_pb2_grpc import EmbedServiceServicer
from treering.v1.log_pb2 import Position
from treering_embed import limits
from treering_embed.encoder.queue import Urgency
from treering_embed.encoder.renderings import RENDERING_VERSION
from treering_embed.index import EVERYTHING, IndexSelection
from treering_embed.indexing.comparison import Comparison
from treering_embed.indexing.meaning import EngineLifecycle
from treering_embed.indexing.progress import Phase, ReindexProgress
from treering_embed.indexing.reindexing import Reindexer
from treering_embed.registry.book import PatternBook
from treering_embed.registry.kept import Background, Kept
from treering_embed.search.search import IndexRanking, IndexSearcher
from treering_embed.settings import EmbedSettings
from treering_runtime.admission import Admission
from treering_runtime.clocks import wall_ns
from treering_runtime.errors import invalid_field
from treering_runtime.limits import MAX_WAITING_DIGESTS
from treering_runtime.patterns import MASK_VERSION
from treering_runtime.progress import ProgressBoard

_M = TypeVar("_M")
_ENCODERS = {
    "openvino": embed_pb2.ENCODER_OPENVINO,
    "sentence-transformers": embed_pb2.ENCODER_SENTENCE_TRANSFORMERS,
}
_ENGINES = {"edge": embed_pb2.INDEX_ENGINE_EDGE, "server": embed_pb2.INDEX_ENGINE_SERVER}
_PHASES = {phase: embed_pb2.ReindexPhase.Value(f"REINDEX_PHASE_{phase.name}") for phase in Phase}


class EmbedServicer(EmbedServiceServicer, EmbedAdminServiceServicer):
    """Serves patterns by meaning, and what query and whoever runs it ask besides; a server has the one or both."""

    def __init__(self, settings: EmbedSettings, kept: Kept, meaning: EngineLifecycle, reindexer: Reindexer, board: ProgressBoard) -> None:
        self._settings, self._book, self._metrics, self._waiting_for = settings, kept.book, kept.metrics, kept.waiting_for
        self._meaning, self._reindexer, self._board = meaning, reindexer, board
        # threads for each kind of answer, as many as are made at a time: none waits for another kind's
        self._answers = Background("answers", limits.MAX_RUNNING_SEARCHES)
        self._score_slices, self._digest_slices = Background("scores"), Background("digests")
        running, waiting, share = limits.MAX_RUNNING_SEARCHES, limits.MAX_WAITING_SEARCHES, limits.MAX_RUNNING_SEARCHES // 2
        self._searches = Admission("max_waiting_searches", running, waiting, words="searches", share=share)
        self._passes = Admission("passes", 1, MAX_WAITING_DIGESTS, words="passes over the whole index")
        self._digests = Admission("digests", 1, MAX_WAITING_DIGESTS, words="digests of the whole index")
        self._started_ns = wall_ns()

    def close(self) -> None:
        """Ends the threads that answers are made on."""
        for threads in (self._answers, self._score_slices, self._digest_slices):
            threads.close()

    async def SearchPatterns(
        self, request: embed_pb2.SearchPatternsRequest, context: "grpc.aio.ServicerContext[object, object]"
    ) -> embed_pb2.SearchPatternsResponse:
        """Ranks patterns by closeness of meaning to a text."""
        _check_texts("text", [request.text])
        self._meaning.engine()  # or there is nothing to wait for
        await self._wait(request.min_positions, context)
        # Before the search: `seen` must not promise more than the index had when it was asked.
        seen, pending, known = self._board.seen(), self._book.pending_count, self._book.pattern_count
        async with self._searches.slot(context.time_remaining()):
            scores, unknown = await self._found(request)
        return embed_pb2.SearchPatternsResponse(
            scores=scores,
            seen=seen,
            pending_count=pending,
            mask_version=MASK_VERSION,
            pattern_count=known,
            unknown_count=unknown,
        )

    async def _found(self, request: embed_pb2.SearchPatternsRequest) -> tuple[list[embed_pb2.PatternScore], int]:
        """What grows with the patterns is made on other threads: the event loop serves everybody."""
        selection, unknown = await self._answers.run(_selection, request, self._book)
        limit = request.limit if request.HasField("limit") else limits.DEFAULT_SEARCH_LIMIT
        with self._meaning.using() as engine:
            searcher = IndexSearcher(engine, self._book.ids)
            query = (await searcher.encode([request.text]))[0]
            with self._metrics.search_seconds.time():
                ranking = await searcher.rank(query, limit, selection, request.also_score_ids)
        return await self._answers.run(_scores, ranking), unknown

    async def ScorePatterns(
        self, request: admin_pb2.ScorePatternsRequest, context: "grpc.aio.ServicerContext[object, object]"
    ) -> AsyncIterator[admin_pb2.ScorePatternsResponse]:
        """Scores every pattern against each text, in slices."""
        _check_texts("texts", request.texts)
        self._meaning.engine()
        await self._wait(request.min_positions, context)
        seen = self._board.seen()
        # The turn is over when the scores are there. A slow reader of the stream holds memory, but not the turn of others.
        async with self._passes.slot(context.time_remaining()):
            slices = _slices(await self._rankings(request.texts), seen)
        # held by what is made elsewhere alone: tens of MiB are given back there, too
        async for response in _made_on(self._score_slices, slices):
            yield response

    async def _rankings(self, texts: Sequence[str]) -> list[IndexRanking]:
        # At least one: before the first pattern the index would be asked for none.
        count = max(self._book.pattern_count, 1)
        with self._meaning.using() as engine:
            searcher = IndexSearcher(engine, self._book.ids)
            return [await searcher.rank(query, count, EVERYTHING) for query in await searcher.encode(texts)]

    async def EmbedTexts(
        self, request: embed_pb2.EmbedTextsRequest, context: "grpc.aio.ServicerContext[object, object]"
    ) -> embed_pb2.EmbedTextsResponse:
        """Vectors of texts."""
        del context
        _check_texts("texts", request.texts)
        with self._meaning.embedding() as encoder:
            encoded = await encoder.encode(request.texts, Urgency.TEXTS)
        embeddings = [embed_pb2.Embedding(values=row.tolist()) for row in encoded.dense]
        return embed_pb2.EmbedTextsResponse(embeddings=embeddings, model=self._meaning.note.model)

    async def ForgetPatterns(
        self, request: admin_pb2.ForgetPatternsRequest, context: "grpc.aio.ServicerContext[object, object]"
    ) -> admin_pb2.ForgetPatternsResponse:
        """Forgets patterns that no record has any more."""
        del context
        below = {position.log_id: position.offset for position in request.below}
        return admin_pb2.ForgetPatternsResponse(forgotten_count=await self._meaning.forget(list(request.pattern_ids), below))

    async def GetEmbedStatus(
        self, request: embed_pb2.GetEmbedStatusRequest, context: "grpc.aio.ServicerContext[object, object]"
    ) -> embed_pb2.GetEmbedStatusResponse:
        """Which model is in use, and how far the index is."""
        del request, context
        model = self._meaning.model
        return embed_pb2.GetEmbedStatusResponse(
            model=self._meaning.note.model or self._settings.model,
            configured_model=self._settings.model,
            model_sha256=model.weights.sha256 if model else "",
            dimension=model.encoder.dimension if model else 0,
            encoder=_ENCODERS[model.encoder.name] if model else None,
            rendering_version=RENDERING_VERSION,
            mask_version=MASK_VERSION,
            pattern_count=self._book.pattern_count,
            pending_count=self._book.pending_count,
            keyword_only_count=self._book.keyword_only_count,
            evicted_count=self._book.evicted_count,
            seen=self._board.seen(),
            index=_ENGINES[self._settings.index],
            model_ready=model is not None,
            index_ready=self._meaning.is_ready,
            problem=self._problem(),
            reindex=self._reindex_status(self._reindexer.progress),
            start_time_unix_nano=self._started_ns,
            limits=self._limits(),
            quarantined_count=sum(self._board.get(log_id).quarantined for log_id in self._board.log_ids()),
            holes=self._board.holes.messages,
            without_pattern_count=self._book.without_pattern_count,
        )

    async def StartReindex(
        self, request: admin_pb2.StartReindexRequest, context: "grpc.aio.ServicerContext[object, object]"
    ) -> admin_pb2.StartReindexResponse:
        """Begins to embed every pattern anew."""
        del context
        progress = await self._reindexer.request(request.model, request.request_id)
        return admin_pb2.StartReindexResponse(reindex=self._reindex_status(progress))

    async def CancelReindex(
        self, request: admin_pb2.CancelReindexRequest, context: "grpc.aio.ServicerContext[object, object]"
    ) -> admin_pb2.CancelReindexResponse:
        """Gives a reindex up."""
        del context
        progress = await self._reindexer.cancel(request.reindex_id if request.HasField("reindex_id") else None)
        return admin_pb2.CancelReindexResponse(reindex=self._reindex_status(progress))

    async def DigestIndex(
        self, request: admin_pb2.DigestIndexRequest, context: "grpc.aio.ServicerContext[object, object]"
    ) -> AsyncIterator[admin_pb2.DigestIndexResponse]:
        """Every pattern by its state."""
        await self._wait(request.min_positions, context)
        async with self._digests.slot(context.time_remaining()):
            slices = _digest_slices(await self._meaning.compare())
            forgotten = await self._meaning.forgotten_count()
        async for response in _made_on(self._digest_slices, slices):
            yield response
        # Last, in a message of its own: a reader that has it has everything before it.
        yield admin_pb2.DigestIndexResponse(forgotten_keyword_only_count=forgotten)

    def _problem(self) -> str:
        """A problem of the model before is over once every pattern has its vector again; what else is wrong is tried again meanwhile."""
        of_model = self._meaning.problem if self._book.pending_count or not self._meaning.is_ready else ""
        return "; ".join(filter(None, (of_model, *self._waiting_for.values())))

    def _reindex_status(self, progress: ReindexProgress) -> embed_pb2.ReindexStatus:
        return embed_pb2.ReindexStatus(
            phase=_PHASES[progress.phase],
            model=progress.model,
            done_count=progress.done,
            total_count=self._book.pattern_count if progress.running else progress.done,
            start_time_unix_nano=progress.started_ns,
            problem=progress.problem,
            reindex_id=progress.number,
            request_id=progress.request_id,
        )

    def _limits(self) -> dict[str, int]:
        return {
            "max_patterns": self._settings.max_patterns,
            "max_new_patterns_per_day": self._settings.max_new_patterns_per_day,
            "max_waiting_searches": limits.MAX_WAITING_SEARCHES,
            "max_waiting_texts": limits.MAX_WAITING_TEXTS,
            "max_wordpieces": limits.MAX_WORDPIECES,
            "rerank_depth": limits.RERANK_DEPTH,
        }

    async def _wait(self, positions: Sequence[Position], context: "grpc.aio.ServicerContext[object, object]") -> None:
        await self._board.wait_visible(positions, context.time_remaining())


async def _made_on(threads: Background, messages: Iterator[_M]) -> AsyncIterator[_M]:
    """The same messages, each made on another thread when it is asked for."""
    # On the other thread, `next` with a default: StopIteration cannot pass through a future.
    while (message := await threads.run(lambda: next(messages, None))) is not None:
        yield message


def _digest_slices(found: Comparison) -> Iterator[admin_pb2.DigestIndexResponse]:
    answer, size = admin_pb2.DigestIndexResponse, limits.DIGEST_SLICE
    yield from (answer(indexed_ids=found.indexed[start : start + size]) for start in range(0, len(found.indexed), size))
    yield from (answer(pending_ids=found.pending[start : start + size]) for start in range(0, len(found.pending), size))
    yield from (answer(unreadable_ids=found.unreadable[start : start + size]) for start in range(0, len(found.unreadable), size))
    yield from (answer(missing_ids=found.missing[start : start + size]) for start in range(0, len(found.missing), size))
    yield from (answer(unknown_ids=found.unknown[start : start + size]) for start in range(0, len(found.unknown), size))
    yield from (answer(keyword_only_ids=found.keyword_only[start : start + size]) for start in range(0, len(found.keyword_only), size))


def _selection(request: embed_pb2.SearchPatternsRequest, book: PatternBook) -> tuple[IndexSelection, int]:
    """Which patterns are looked at, and how many of those that are named are not registered."""
    ids = frozenset(request.restrict_to.pattern_ids) if request.HasField("restrict_to") else None
    unknown = sum(not book.is_known(pattern_id) for pattern_id in ids or ())
    return IndexSelection(ids, tuple(request.services)), unknown


def _scores(ranking: IndexRanking) -> list[embed_pb2.PatternScore]:
    columns = (ranking.pattern_ids.tolist(), ranking.scores.tolist(), ranking.dense.tolist(), ranking.late.tolist())
    return [
        embed_pb2.PatternScore(pattern_id=key, score=score, dense=dense, late=late)
        for key, score, dense, late in zip(*columns, strict=True)
    ]


def _slices(rankings: Sequence[IndexRanking], seen: Sequence[Position]) -> Iterator[admin_pb2.ScorePatternsResponse]:
    """All patterns in the order of their ids, cut into messages; at least one, so that `seen` always arrives."""
    # Sorted, so that the columns of several texts can be compared and cut by position.
    orders = [np.argsort(ranking.pattern_ids) for ranking in rankings]
    ids = [ranking.pattern_ids[order] for ranking, order in zip(rankings, orders, strict=True)]
    columns = [ranking.scores[order] for ranking, order in zip(rankings, orders, strict=True)]
    common = ids[0]
    if not all(np.array_equal(common, others) for others in ids):  # patterns came or went between two texts
        common = functools.reduce(functools.partial(np.intersect1d, assume_unique=True), ids)
        columns = [column[np.searchsorted(own, common)] for own, column in zip(ids, columns, strict=True)]
    for start in range(0, max(len(common), 1), limits.SCORE_SLICE):
        response = _slice(common[start : start + limits.SCORE_SLICE], columns, start)
        if not start:
            response.seen.extend(seen)
            response.mask_version = MASK_VERSION
        yield response


def _slice(ids: NDArray[np.uint64], columns: Sequence[NDArray[np.float32]], start: int) -> admin_pb2.ScorePatternsResponse:
    texts = [admin_pb2.TextScores(scores=column[start : start + len(ids)].tolist()) for column in columns]
    return admin_pb2.ScorePatternsResponse(pattern_ids=ids.tolist(), texts=texts)


def _check_texts(field: str, texts: Sequence[str]) -> None:
    if not texts:
        raise invalid_field(field, "is empty; give at least one text")
    # Blank counts as empty: the model gives a vector for it that says nothing, and some pattern would be the nearest.
    if not all(text.strip() for text in texts):
        raise invalid_field(field, "holds an empty text; say what is looked for")
