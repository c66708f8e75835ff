"""Methods made from `calls`: the same arguments and manual, bound to a blocking or an asyncio client."""

import functools
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Generic, Literal, ParamSpec, Protocol, TypeVar, overload

from treering.calls import Call

P = ParamSpec("P")
Response = TypeVar("Response")
Service = Literal["ingest", "embed", "query"]


class Caller(Protocol):
    """A blocking client, as its methods see it."""

    def call(self, rpc: "Rpc", request: Any, timeout: float | None) -> Any:
        """Sends the request and waits for the response."""

    def stream(self, rpc: "Rpc", request: Any, timeout: float | None) -> Iterator[Any]:
        """Sends the request and iterates over the responses."""


class AsyncCaller(Protocol):
    """An asyncio client, as its methods see it."""

    async def call(self, rpc: "Rpc", request: Any, timeout: float | None) -> Any:  # noqa: ASYNC109 - the call's deadline
        """Sends the request and waits for the response."""

    def stream(self, rpc: "Rpc", request: Any, timeout: float | None) -> AsyncIterator[Any]:
        """Sends the request and iterates over the responses."""


class Rpc:
    """Which rpc of which service, and whether the client's default deadline applies to it."""

    def __init__(self, service: Service, name: str, *, endless: bool) -> None:
        self.service = service
        self.name = name
        self.endless = endless

    def deadline(self, timeout: float | None, default: float) -> float | None:
        """The deadline of a call in seconds, None for none."""
        if timeout is None:
            return None if self.endless else default
        return None if math.isinf(timeout) else timeout


class _Method(Rpc, Generic[P, Response]):
    """A descriptor; on the class it shows the manual, on a client it calls."""

    def __init__(
        self, build: Callable[P, Call[Any]], service: Service, name: str, response: type[Response], *, endless: bool = False
    ) -> None:
        super().__init__(service, name, endless=endless)
        self._build = build
        self.response = response


class Unary(_Method[P, Response]):
    """A blocking method with one response."""

    @overload
    def __get__(self, client: None, owner: type) -> Callable[..., Response]: ...
    @overload
    def __get__(self, client: Caller, owner: type) -> Callable[P, Response]: ...
    def __get__(self, client: Caller | None, owner: type) -> Callable[..., Response]:
        """The method, bound to a client."""
        if client is None:
            return self._build  # type: ignore[return-value]  # for documentation only

        @functools.wraps(self._build)
        def method(*args: P.args, **kwargs: P.kwargs) -> Response:
            built = self._build(*args, **kwargs)
            response: Response = client.call(self, built.request, built.timeout)
            return response

        return method


class Streaming(_Method[P, Response]):
    """A blocking method with an iterator of responses."""

    @overload
    def __get__(self, client: None, owner: type) -> Callable[..., Iterator[Response]]: ...
    @overload
    def __get__(self, client: Caller, owner: type) -> Callable[P, Iterator[Response]]: ...
    def __get__(self, client: Caller | None, owner: type) -> Callable[..., Iterator[Response]]:
        """The method, bound to a client."""
        if client is None:
            return self._build  # type: ignore[return-value]  # for documentation only

        @functools.wraps(self._build)
        def method(*args: P.args, **kwargs: P.kwargs) -> Iterator[Response]:
            built = self._build(*args, **kwargs)
            return client.stream(self, built.request, built.timeout)

        return method


class AsyncUnary(_Method[P, Response]):
    """An asyncio method with one response."""

    @overload
    def __get__(self, client: None, owner: type) -> Callable[..., Awaitable[Response]]: ...
    @overload
    def __get__(self, client: AsyncCaller, owner: type) -> Callable[P, Awaitable[Response]]: ...
    def __get__(self, client: AsyncCaller | None, owner: type) -> Callable[..., Awaitable[Response]]:
        """The method, bound to a client."""
        if client is None:
            return self._build  # type: ignore[return-value]  # for documentation only

        @functools.wraps(self._build)
        async def method(*args: P.args, **kwargs: P.kwargs) -> Response:
            built = self._build(*args, **kwargs)
            response: Response = await client.call(self, built.request, built.timeout)
            return response

        return method


class AsyncStreaming(_Method[P, Response]):
    """An asyncio method with an asynchronous iterator of responses."""

    @overload
    def __get__(self, client: None, owner: type) -> Callable[..., AsyncIterator[Response]]: ...
    @overload
    def __get__(self, client: AsyncCaller, owner: type) -> Callable[P, AsyncIterator[Response]]: ...
    def __get__(self, client: AsyncCaller | None, owner: type) -> Callable[..., AsyncIterator[Response]]:
        """The method, bound to a client."""
        if client is None:
            return self._build  # type: ignore[return-value]  # for documentation only

        @functools.wraps(self._build)
        def method(*args: P.args, **kwargs: P.kwargs) -> AsyncIterator[Response]:
            built = self._build(*args, **kwargs)
            return client.stream(self, built.request, built.timeout)

        return method
