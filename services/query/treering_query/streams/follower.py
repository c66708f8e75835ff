"""What tails and watches have in common: a place in each log that moves, and two ways to read on from it."""

import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import ClassVar, Generic, TypeVar

from treering.v1.log_pb2 import Position
from treering_query import limits
from treering_query.streams.endless import refuse_when_draining
from treering_query.streams.feed import Feed
from treering_query.streams.hub import Hub
from treering_query.view.port import Records

Item = TypeVar("Item")
Response = TypeVar("Response")


class StreamFollower(ABC, Generic[Item, Response]):
    """One endless answer, for one event loop.

    It reads *alone* up to `alone_until`, then it joins a hub, reads alone up to where its feed starts, and from then on takes what is in
    the feed. When the feed is lost, it reads alone again, up to what is visible then. Its place moves with what is sent, however it was
    read.

    Args:
        store: Where the records are.
        hub: Who reads what is new.
        heartbeat_s: Longest silence, seconds.
    """

    greets: ClassVar[bool] = False
    """Whether the first response is a sign of life."""

    def __init__(self, store: Records, hub: Hub[Item], heartbeat_s: float = limits.TAIL_HEARTBEAT_S) -> None:
        self.store = store
        self.next: dict[int, int] = {}
        """Its place in each log: all that is selected below has been sent."""
        self.alone_until: Mapping[int, int] = {}
        self._hub = hub
        self._heartbeat_s = heartbeat_s
        self._feed: Feed[Item] | None = None
        self._is_aligned = False

    @abstractmethod
    async def begin(self) -> None:
        """Sets `next` and `alone_until`."""

    @abstractmethod
    def sign_of_life(self) -> Response:
        """What is sent when there is nothing to send."""

    @abstractmethod
    async def read_alone(self) -> Sequence[Response]:
        """Some of what lies between `next` and `alone_until`; moves `next`."""

    @abstractmethod
    def new_feed(self) -> Feed[Item]:
        """What the hub is to fill from now on."""

    @abstractmethod
    async def take(self) -> Sequence[Response]:
        """Some of what is in the feed; moves `next`."""

    async def run(self) -> AsyncGenerator[Response, None]:
        """Responses until the caller goes away.

        Raises:
            ServiceError: DRAINING when the service stops; whatever reading alone meets, but never OVERLOADED.
        """
        try:
            # After a restart: what was visible before must not be taken for new.
            await self.store.wait_visible((), None)
            await self.begin()
            if self.greets:
                yield self.sign_of_life()
            said = time.monotonic()
            while True:
                # At each step: a stream without an end must not hold up the end of the service.
                refuse_when_draining(self.store.board)
                responses = await self._step(max(0.0, said + self._heartbeat_s - time.monotonic()))
                # Also while it reads for long and selects nothing: the caller sees that it lives, and gets a place to resume from.
                if not responses and time.monotonic() - said >= self._heartbeat_s:
                    responses = [self.sign_of_life()]
                for response in responses:
                    # Control is with the caller here for as long as it likes: gRPC's flow control is the pace of a slow reader.
                    yield response
                    said = time.monotonic()
        finally:
            self._leave()

    async def _step(self, patience_s: float) -> Sequence[Response]:
        """What comes next, perhaps nothing after `patience_s` seconds."""
        if any(self.next.get(log_id, 0) < end for log_id, end in self.alone_until.items()):
            # Before the hub: what is older is sent first, so that records keep the order of the log.
            return await self.read_alone()
        if self._feed is None:
            # Joined before the last of what is older is read: the feed says where it starts, and the gap is read alone.
            self._feed = self.new_feed()
            self._hub.join(self._feed)
        # Nothing in it counts: its own place says what was sent, and it reads alone from there.
        if self._feed.lost:
            self._leave()
            self.alone_until = {position.log_id: position.offset for position in self.store.board.seen()}
        elif self._feed.start is not None and not self._is_aligned:
            self.alone_until, self._is_aligned = self._feed.start, True
        elif responses := await self.take():
            return responses
        else:
            await self._feed.wait(patience_s)
        return ()

    def _leave(self) -> None:
        if self._feed is not None:
            self._hub.leave(self._feed)
        self._feed, self._is_aligned = None, False

    def moved_to(self, reached: Mapping[int, int]) -> None:
        """Moves the place to where nothing is left to send below."""
        for log_id, end in reached.items():
            # Never back: it would send records twice.
            self.next[log_id] = max(end, self.next.get(log_id, 0))

    def positions(self) -> list[Position]:
        """The place, for responses."""
        return [Position(log_id=log_id, offset=offset) for log_id, offset in sorted(self.next.items())]
