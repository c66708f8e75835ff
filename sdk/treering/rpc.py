"""Methods made from `calls`: the same arguments and manual, bound to a blocking or to an asyncio client.

A method builds its request and gives it to the client that it is bound to. That client alone knows how to wait.
"""

import functools
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any, Generic, Literal, ParamSpec, Protocol, TypeVar, overload

from treering.calls import Call

P = ParamSpec("P")
Response = TypeVar("Response")
Service = Literal["ingest", "embed", "query"]


class CallingClient(Protocol):
    """A blocking client, as its methods see it."""

    def call(self, rpc: "Rpc", request: Any, timeout: float | None) -> Any:
        """Sends the request and waits for the response."""

    def stream(self, rpc: "Rpc", request: Any, timeout: float | None) -> Iterator[Any]:
        """Sends the request and iterates over the parts of the responses."""


class AsyncCaller(Protocol):
    """An asyncio client, as its methods see it."""

    async def call(self, rpc: "Rpc", request: Any, timeout: float | None) -> Any:  # noqa: ASYNC109 - the call's deadline
        """As in `CallingClient`."""

    def stream(self, rpc: "Rpc", request: Any, timeout: float | None) -> AsyncIterator[Any]:
        """As in `CallingClient`."""


class Rpc:
    """Which rpc of which service, what its responses are for the caller, and whether the client's default deadline applies to it.

    `response` is what the caller gets: a response, a part of one (from its repeated field `part`), or what is made of all of them.
    """

    def __init__(self, service: Service, name: str, response: type, *, endless: bool, part: str) -> None:
        self.service = service
        self.name = name
        self.response = response
        self.endless = endless
        self._part = part

    def deadline(self, timeout: float | None, default: float) -> float | None:
        """The deadline of a call in seconds, None for none."""
        # Endless calls have no default: a tail that ends after 30 seconds would look like a fault.
        if timeout is None:
            return None if self.endless else default
        # gRPC takes no infinity; None is its word for no deadline.
        return None if math.isinf(timeout) else timeout

    def parts(self, response: Any) -> Iterable[Any]:
        """What a response contributes to an iteration."""
        return getattr(response, self._part) if self._part else (response,)

    @staticmethod
    def turn(request: Any, page: Any) -> bool:
        """Makes the request that of the page after `page`; False when there is none."""
        # Written into the caller's own request: it is built anew for each iteration, so nobody else sees it.
        request.page_token = page.next_page_token
        # For the page after: an empty token is the contract's word for the last page.
        return bool(page.next_page_token)


class _Method(Rpc, Generic[P, Response]):
    """A descriptor; on the class it shows the manual, on a client it calls."""

    _manner: str
    """The method of `CallingClient` that sends the request."""

    def __init__(
        self,
        build: Callable[P, Call[Any]],
        service: Service,
        name: str,
        response: type[Response],
        *,
        endless: bool = False,
        part: str = "",
    ) -> None:
        super().__init__(service, name, response, endless=endless, part=part)
        self._build = build

    def _bound(self, client: CallingClient | AsyncCaller | None) -> Callable[..., Any]:
        if client is None:
            return self._build  # for documentation only
        # Looked up on the client, so one description serves both kinds of clients.
        send = getattr(client, self._manner)

        @functools.wraps(self._build)
        def method(*args: P.args, **kwargs: P.kwargs) -> Any:
            built = self._build(*args, **kwargs)
            return send(self, built.request, built.timeout)

        return method


class Unary(_Method[P, Response]):
    """A method with one response."""

    _manner = "call"

    @overload
    def __get__(self, client: None, owner: type) -> Callable[..., Response]: ...
    @overload
    def __get__(self, client: CallingClient, owner: type) -> Callable[P, Response]: ...
    @overload
    def __get__(self, client: AsyncCaller, owner: type) -> Callable[P, Awaitable[Response]]: ...
    def __get__(self, client: CallingClient | AsyncCaller | None, owner: type) -> Callable[..., Any]:
        """The method, bound to a client."""
        return self._bound(client)


class Streaming(_Method[P, Response]):
    """A method with an iterator of responses, or of their parts."""

    _manner = "stream"

    @overload
    def __get__(self, client: None, owner: type) -> Callable[..., Iterator[Response]]: ...
    @overload
    def __get__(self, client: CallingClient, owner: type) -> Callable[P, Iterator[Response]]: ...
    @overload
    def __get__(self, client: AsyncCaller, owner: type) -> Callable[P, AsyncIterator[Response]]: ...
    def __get__(self, client: CallingClient | AsyncCaller | None, owner: type) -> Callable[..., Any]:
        """The method, bound to a client."""
        return self._bound(client)


class Paged(Streaming[P, Response]):
    """A method with an iterator of the parts of all pages."""

    _manner = "pages"


class Collected(Unary[P, Response]):
    """A method that makes one result of all responses."""

    _manner = "collect"
