"""The servicer: translates, delegates, translates."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Protocol, TypeVar

from treering.v1 import admin_pb2
from treering.v1 import query_pb2 as pb
from treering.v1.admin_pb2_grpc import QueryAdminServiceServicer
from treering.v1.log_pb2 import Position
from treering.v1.query_pb2_grpc import QueryServiceServicer
from treering_query.answers import aggregates, digest, field_list, field_values, log_list
from treering_query.answers import context as context_of
from treering_query.answers.status import Status
from treering_query.answers.verifying import Verifying
from treering_query.meaning.meaning import MeaningClient
from treering_query.meaning.meant import Meant
from treering_query.patterns import compare, pattern_detail, pattern_list
from treering_query.reading import filters
from treering_query.search.searcher import Searcher
from treering_query.sql.runner import SqlQuery, SqlRunner
from treering_query.store.store import Store
from treering_query.streams import export, tail, watch
from treering_query.streams.bounds import StreamBounds
from treering_query.streams.export import Exports
from treering_query.streams.hub import Hub
from treering_query.streams.tail import Tail
from treering_query.streams.tail_news import TailReader
from treering_query.streams.watch import Watch
from treering_query.streams.watch_news import WatchReader
from treering_query.view.cost import Timing
from treering_query.view.snapshot import Snapshot
from treering_runtime.admission import Admission
from treering_runtime.clocks import wall_ns
from treering_runtime.limits import MAX_WAITING_DIGESTS


class _Question(Protocol):
    """A request that may wait for positions."""

    @property
    def min_positions(self) -> Sequence[Position]:
        """Which."""


class _HasCost(Protocol):
    """An answer that says what it cost."""

    @property
    def cost(self) -> pb.QueryCost:
        """What it cost."""


Asked = TypeVar("Asked", bound=_Question)
Answer = TypeVar("Answer", bound=_HasCost)
Answer_co = TypeVar("Answer_co", bound=_HasCost, covariant=True)
Counted = TypeVar("Counted", pb.AggregateLogsResponse, pb.ListFieldValuesResponse)


class _Plan(Protocol[Answer_co]):
    """A checked request."""

    def answer(self, snapshot: Snapshot) -> Answer_co:
        """What a snapshot answers to it. Blocks."""


if TYPE_CHECKING:
    import grpc

    Context = grpc.aio.ServicerContext[object, object]


_USUAL_BOUNDS = StreamBounds()


class QueryServicer(QueryServiceServicer, QueryAdminServiceServicer):
    """Serves `QueryService` and `QueryAdminService`; a server has the one or the other."""

    def __init__(
        self,
        store: Store,
        sql: SqlRunner,
        status: Status,
        searcher: Searcher,
        meaning: MeaningClient,
        *,
        bounds: StreamBounds = _USUAL_BOUNDS,
    ) -> None:
        self._store = store
        self._exports = Exports(store, bounds.exports_running, bounds.exports_waiting)
        # No queue: a stream without an end frees its place for nobody in time. Half is the most that one caller gets.
        self._followers = Admission("follow", bounds.followers, 0, words="tails and watches", share=max(1, bounds.followers // 2))
        # One for all tails, and one for all watches: each reads what is new once.
        self._tails = Hub(store, TailReader)
        self._watches = Hub(store, WatchReader)
        self._meaning = meaning
        self._sql = sql
        self._status = status
        self._searcher = searcher
        self._verifying = Verifying(store)
        # One at a time: a digest reads every record of its range.
        self._digests = Admission("digests", 1, MAX_WAITING_DIGESTS, words="digests")

    async def AggregateLogs(self, request: pb.AggregateLogsRequest, context: "Context") -> pb.AggregateLogsResponse:
        """Counts and other aggregates."""

        def plan(request: pb.AggregateLogsRequest, meant: Meant) -> aggregates.AggregatePlan:
            # The present, as callers understand it: buckets without an end run up to now.
            return aggregates.plan(request, meant, wall_ns())

        return self._naming_holes(await self._answered(request, aggregates.texts(request), plan, context))

    async def ExecuteSql(self, request: pb.ExecuteSqlRequest, context: "Context") -> AsyncIterator[pb.ExecuteSqlResponse]:
        """One SELECT of the caller's."""
        timing = Timing()
        # Before the wait: a wrong request is refused at once.
        query = SqlQuery.of(request)
        await self._wait_visible(timing, request.min_positions, context)
        # `aclosing`: a generator that is only dropped would end its process when the collector comes by.
        async with aclosing(self._sql.run(query, context.time_remaining(), timing)) as responses:
            async for response in responses:
                yield response

    async def GetQueryStatus(self, request: pb.GetQueryStatusRequest, context: "Context") -> pb.GetQueryStatusResponse:
        """The state of the store."""
        del request, context
        return await self._status.answer()

    async def SearchLogs(self, request: pb.SearchLogsRequest, context: "Context") -> pb.SearchLogsResponse:
        """Records by what they say."""
        timing = Timing()
        meant = await self._about(request, context)
        return await self._searcher.search_logs(request, context.time_remaining(), meant, timing)

    async def ListPatterns(self, request: pb.ListPatternsRequest, context: "Context") -> pb.ListPatternsResponse:
        """Patterns with their counts, a page at a time."""
        return await self._answered(request, filters.abouts(request.filter), pattern_list.plan, context)

    async def GetPattern(self, request: pb.GetPatternRequest, context: "Context") -> pb.GetPatternResponse:
        """One pattern or template in depth."""
        return await self._answered(request, filters.abouts(request.filter), pattern_detail.plan, context)

    async def TailLogs(self, request: pb.TailLogsRequest, context: "Context") -> AsyncIterator[pb.TailLogsResponse]:
        """Records as they become visible."""
        del context
        plan = tail.plan(request)
        async with self._followers.slot(None), aclosing(Tail(self._store, self._tails, plan).run()) as responses:
            async for response in responses:
                yield response

    async def GetLogContext(self, request: pb.GetLogContextRequest, context: "Context") -> pb.GetLogContextResponse:
        """One record among its neighbours."""
        # No position to wait for, but what was visible before a restart.
        return await self._answered_by(context_of.plan(request), Timing(), (), context)

    async def ExportLogs(self, request: pb.ExportLogsRequest, context: "Context") -> AsyncIterator[pb.ExportLogsResponse]:
        """Every record of a selection."""
        timing = Timing()
        predicate = export.plan(request, await self._about(request, context))
        await self._wait_visible(timing, request.min_positions, context)
        async with aclosing(self._exports.run(predicate, context.time_remaining(), timing)) as responses:
            async for response in responses:
                yield response

    async def ListLogs(self, request: pb.ListLogsRequest, context: "Context") -> pb.ListLogsResponse:
        """Records in an order, a page at a time."""
        return await self._answered(request, filters.abouts(request.filter), log_list.plan, context)

    async def ListFields(self, request: pb.ListFieldsRequest, context: "Context") -> pb.ListFieldsResponse:
        """Fields with their counts, a page at a time."""
        return await self._answered(request, filters.abouts(request.filter), field_list.plan, context)

    async def ListFieldValues(self, request: pb.ListFieldValuesRequest, context: "Context") -> pb.ListFieldValuesResponse:
        """The most frequent values of some fields."""
        return self._naming_holes(await self._answered(request, field_values.texts(request), field_values.plan, context))

    async def DigestStore(self, request: admin_pb2.DigestStoreRequest, context: "Context") -> admin_pb2.DigestStoreResponse:
        """A part of the store in digests."""
        plan = digest.plan(request)
        await self._store.wait_visible(request.min_positions, context.time_remaining())
        # before the store's own line: digests must not fill it
        async with self._digests.slot(context.time_remaining()):
            return await self._digested(plan, context)

    async def _digested(self, plan: digest.DigestPlan, context: "Context") -> admin_pb2.DigestStoreResponse:
        with self._store.snapshot() as snapshot:
            return await self._store.run(snapshot, plan.answer, context.time_remaining())

    async def VerifyStore(self, request: admin_pb2.VerifyStoreRequest, context: "Context") -> AsyncIterator[admin_pb2.VerifyStoreResponse]:
        """Whether the sealed store is what it should be."""
        del request, context
        # A caller that has gone gives the turn and the snapshot back at once, not when the garbage collector comes by.
        async with aclosing(self._verifying.run()) as responses:
            async for response in responses:
                yield response

    async def ComparePatterns(self, request: pb.ComparePatternsRequest, context: "Context") -> pb.ComparePatternsResponse:
        """How the patterns of two selections differ."""
        texts = {**filters.abouts(request.filter), **filters.abouts(request.baseline, "baseline")}
        return await self._answered(request, texts, compare.plan, context)

    async def WatchPatterns(self, request: pb.WatchPatternsRequest, context: "Context") -> AsyncIterator[pb.WatchPatternsResponse]:
        """Patterns that were never seen before."""
        del context
        plan = watch.plan(request)
        async with self._followers.slot(None), aclosing(Watch(self._store, self._watches, plan).run()) as responses:
            async for response in responses:
                yield response

    def close(self) -> None:
        """Ends what exports, checks and the status run on; they have been cancelled before."""
        self._status.close()
        self._exports.close()
        self._verifying.close()

    async def _answered(
        self, request: Asked, texts: Mapping[str, str], plan: Callable[[Asked, Meant], _Plan[Answer]], context: "Context"
    ) -> Answer:
        """The answer to a request that asks for the meaning of some texts, by the name of their field; `plan` checks it."""
        timing = Timing()
        meant = await self._meaning.of_filters(texts, request.min_positions, context.time_remaining())
        # Before the wait: a wrong request is refused at once.
        return await self._answered_by(plan(request, meant), timing, request.min_positions, context)

    async def _answered_by(self, plan: _Plan[Answer], timing: Timing, positions: Sequence[Position], context: "Context") -> Answer:
        """What a plan makes of a snapshot that includes everything below `positions`, and what that cost."""
        await self._wait_visible(timing, positions, context)
        with self._store.snapshot() as snapshot:
            response = await self._store.run(snapshot, plan.answer, context.time_remaining())
            response.cost.CopyFrom(timing.cost(snapshot))
        return response

    def _naming_holes(self, answer: Counted) -> Counted:
        """A count with what is missing from it: an operator's hole in the log may concern any."""
        answer.degraded_because = "; ".join(filter(None, (answer.degraded_because, self._store.board.holes.words)))
        return answer

    async def _wait_visible(self, timing: Timing, positions: Sequence[Position], context: "Context") -> None:
        with timing.waiting():
            await self._store.wait_visible(positions, context.time_remaining())

    async def _about(self, request: pb.SearchLogsRequest | pb.ExportLogsRequest, context: "Context") -> Meant:
        """The scores of the texts `about` in a request's filter."""
        return await self._meaning.of_filters(filters.abouts(request.filter), request.min_positions, context.time_remaining())
