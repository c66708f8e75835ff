"""Asking the embed service for scores by meaning."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import numpy as np
import numpy.typing as npt
from google.rpc import error_details_pb2, status_pb2

from treering.inner.whole_requests import whole_requests
from treering.v1.admin_pb2 import ForgetPatternsRequest, ScorePatternsRequest, ScorePatternsResponse
from treering.v1.admin_pb2_grpc import EmbedAdminServiceStub
from treering.v1.embed_pb2 import SearchPatternsRequest, SearchPatternsResponse
from treering.v1.embed_pb2_grpc import EmbedServiceStub
from treering.v1.log_pb2 import Position
from treering_query.values.pattern_ids import Ids
from treering_runtime import caller
from treering_runtime.channels import Peer, PeerAway, PeerConnection
from treering_runtime.patterns import NO_PATTERN, PatternIds

if TYPE_CHECKING:
    from treering.v1.admin_pb2_grpc import EmbedAdminServiceAsyncStub
    from treering.v1.embed_pb2_grpc import EmbedServiceAsyncStub

_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),  # or a search finds an embed service that came back only after two minutes
    ("grpc.keepalive_time_ms", 20_000),
)


_THREADS = 2
"""Requests, or answers, of one kind that are put together at a time."""

_FORGET_TIMEOUT_S = 30.0
"""How long a call of upkeep may take, seconds: nobody waits for it."""


class EmbedUnavailable(Exception):  # noqa: N818 - it says what is, as UNAVAILABLE does
    """No scores by meaning. `reason` is in words for people; `waiting_for` is set when a position was not indexed in time."""

    def __init__(self, reason: str, waiting_for: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.waiting_for = waiting_for


@dataclass(frozen=True)
class MeaningAnswer:
    """Patterns and the score 0..1 of each, how many cannot be found yet, and the masking rules that the ids follow."""

    pattern_ids: Ids
    scores: npt.NDArray[np.float64]
    pending_count: int
    mask_version: int
    pattern_count: int = 0
    """Patterns that embed knows; 0 = it does not say."""
    unknown_count: int = 0
    """How many of those that the question names embed does not know."""


@dataclass(frozen=True)
class PatternScores:
    """Pattern ids, ascending; for each text a score 0..1 of each of them; and the masking rules that the ids follow."""

    pattern_ids: Ids
    scores: tuple[npt.NDArray[np.float32], ...]
    mask_version: int

    @classmethod
    def ascending(cls, pattern_ids: Ids, scores: Sequence[npt.NDArray[np.float32]], mask_version: int) -> "PatternScores":
        """Of ids in any order. Grows with the patterns: for a thread."""
        order = np.argsort(pattern_ids)
        return cls(pattern_ids[order], tuple(column[order] for column in scores), mask_version)


class EmbedClient:
    """A client of the embed service. Connects when it is first asked, and again whenever it must.

    Args:
        peer: The service.
        ids: Of our store, which may have patterns under other ids than services use between them; ours stay on this side.
    """

    def __init__(self, peer: Peer, ids: PatternIds | None = None) -> None:
        self._ids = ids or PatternIds()
        self._connection = PeerConnection(peer, *_OPTIONS)
        # threads for each kind of question, since both grow with the patterns: a search never waits for scores that are put together
        self._asking = ThreadPoolExecutor(_THREADS, thread_name_prefix="search-ids")
        self._scoring = ThreadPoolExecutor(_THREADS, thread_name_prefix="scores")

    @property
    def _stub(self) -> "EmbedServiceAsyncStub":
        return EmbedServiceStub(whole_requests(self._channel()))

    @property
    def _admin(self) -> "EmbedAdminServiceAsyncStub":
        return EmbedAdminServiceStub(whole_requests(self._channel()))

    def _channel(self) -> grpc.aio.Channel:
        try:
            return self._connection.channel()
        except PeerAway as error:
            raise EmbedUnavailable(f"embed cannot be reached: {error}") from error

    async def search(self, request: SearchPatternsRequest, timeout_s: float) -> MeaningAnswer:
        """Scores of the patterns that are closest in meaning.

        Raises:
            EmbedUnavailable: It does not answer in time, is starting, overloaded, or failed.
        """
        # Only after a change of how ids are computed: stored records keep theirs, the wire has the new ones.
        if self._ids.translates:  # on a thread: a request may name every pattern
            request = await asyncio.get_running_loop().run_in_executor(self._asking, self._sent, request)
        try:
            response: SearchPatternsResponse = await self._stub.SearchPatterns(request, timeout=timeout_s, metadata=caller.handed_on())
        except grpc.aio.AioRpcError as error:
            raise _explained(error, timeout_s) from error
        # Straight into an array: no list of Python numbers.
        ids = self._ids.to_stored(np.fromiter((score.pattern_id for score in response.scores), np.uint64, len(response.scores)))
        scores = np.fromiter((score.score for score in response.scores), np.float64, len(response.scores))
        known = ids != NO_PATTERN
        counts = (response.pattern_count, response.unknown_count)
        return MeaningAnswer(ids[known], scores[known], response.pending_count, response.mask_version, *counts)

    def _sent(self, request: SearchPatternsRequest) -> SearchPatternsRequest:
        """The request by the ids that embed knows."""
        sent = SearchPatternsRequest()
        # A copy: the caller's request keeps the ids of the store.
        sent.CopyFrom(request)
        sent.also_score_ids[:] = self._wire_ids(request.also_score_ids)
        sent.restrict_to.pattern_ids[:] = self._wire_ids(request.restrict_to.pattern_ids)
        # The assignment above has set it; absent means all, set and empty means none.
        if not request.HasField("restrict_to"):
            sent.ClearField("restrict_to")
        return sent

    def _wire_ids(self, pattern_ids: Sequence[int]) -> list[int]:
        found = self._ids.to_wire(np.array(pattern_ids, np.uint64))
        known: list[int] = found[found != NO_PATTERN].tolist()
        return known

    async def score(self, texts: Sequence[str], min_positions: Sequence[Position], timeout_s: float) -> PatternScores:
        """Scores of every pattern against each text.

        Raises:
            EmbedUnavailable: It does not answer in time, is starting, overloaded, or failed.
        """
        request = ScorePatternsRequest(texts=texts, min_positions=min_positions)
        try:
            # A stream, as the scores of all patterns do not fit into one message. Its size is bounded by embed's own limit on patterns.
            call = self._admin.ScorePatterns(request, timeout=timeout_s, metadata=caller.handed_on())
            slices = [part async for part in call]
        except grpc.aio.AioRpcError as error:
            raise _explained(error, timeout_s) from error
        return await asyncio.get_running_loop().run_in_executor(self._scoring, _put_together, slices, len(texts), self._ids)

    async def forget(self, pattern_ids: Sequence[int], below: Sequence[Position]) -> None:
        """Forgets patterns that have no record below some positions any more.

        Raises:
            EmbedUnavailable: It did not; ask again later.
        """
        request = ForgetPatternsRequest(pattern_ids=self._wire_ids(pattern_ids), below=below)
        try:
            await self._admin.ForgetPatterns(request, timeout=_FORGET_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            raise _explained(error, _FORGET_TIMEOUT_S) from error

    async def close(self) -> None:
        """Ends the connection; calls that run fail."""
        await self._connection.close()
        self._asking.shutdown(wait=False)
        self._scoring.shutdown(wait=False)


def _put_together(slices: Sequence[ScorePatternsResponse], texts: int, translated: PatternIds) -> PatternScores:
    ids = translated.to_stored(np.concatenate([np.array(part.pattern_ids, np.uint64) for part in slices]))
    scores = [np.concatenate([np.array(part.texts[number].scores, np.float32) for part in slices]) for number in range(texts)]
    known = ids != NO_PATTERN
    return PatternScores.ascending(ids[known], [column[known] for column in scores], slices[0].mask_version)


_WORDS = {
    "STARTING": "embed is still loading its model",
    "DRAINING": "embed is stopping",
    "OVERLOADED": "embed has too much to do",
    "PEER_UNAVAILABLE": "embed cannot reach its index",
}


def _explained(error: grpc.aio.AioRpcError, timeout_s: float) -> EmbedUnavailable:
    info = _error_info(error)
    # Before the code: the same code has other causes, with another way out.
    if waiting_for := info.metadata.get("waiting_for", ""):
        return EmbedUnavailable("embed has not indexed the wanted position in time", waiting_for)
    # Words of ours: the peer's own may speak of things that this caller cannot see.
    if words := _WORDS.get(info.reason):
        return EmbedUnavailable(words)
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return EmbedUnavailable(f"embed did not answer within {timeout_s:.1f} s")
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        return EmbedUnavailable("embed does not answer")
    return EmbedUnavailable(f"embed failed ({info.reason or error.code().name})")


def _error_info(error: grpc.aio.AioRpcError) -> error_details_pb2.ErrorInfo:
    info = error_details_pb2.ErrorInfo()
    # gRPC carries the rich status as a binary trailer of this name.
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            for detail in status_pb2.Status.FromString(value).details:
                # A status may have several details; the others are not asked for here.
                if detail.Is(info.DESCRIPTOR):
                    detail.Unpack(info)
    return info
