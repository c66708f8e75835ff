"""A channel for asyncio whose calls fail where a request cannot be serialised.

gRPC for asyncio sends an empty message in its place and goes on (grpc/grpc#34894), for example when there is no memory for it: the other
side answers a question that nobody asked, or misses a part of a stream. Here gRPC gets bytes.
"""

from collections.abc import Callable
from typing import Any, cast

import grpc

_Serialize = Callable[[Any], bytes]


def whole_requests(channel: grpc.aio.Channel) -> grpc.aio.Channel:
    """The channel for a generated stub, with which a call, or its `write`, raises what serialising a request raised.

    Requests of a stream are written one by one; an iterator of requests must give bytes.
    """
    return cast("grpc.aio.Channel", _WholeRequests(channel))


class _WholeRequests:
    """What a generated stub uses of a channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    def unary_unary(self, method: str, request_serializer: _Serialize, response_deserializer: Any, **registered: Any) -> "_OneRequest":
        return _OneRequest(self._channel.unary_unary(method, None, response_deserializer, **registered), request_serializer)

    def unary_stream(self, method: str, request_serializer: _Serialize, response_deserializer: Any, **registered: Any) -> "_OneRequest":
        return _OneRequest(self._channel.unary_stream(method, None, response_deserializer, **registered), request_serializer)

    def stream_unary(self, method: str, request_serializer: _Serialize, response_deserializer: Any, **registered: Any) -> "_Requests":
        return _Requests(self._channel.stream_unary(method, None, response_deserializer, **registered), request_serializer)

    def stream_stream(self, method: str, request_serializer: _Serialize, response_deserializer: Any, **registered: Any) -> "_Requests":
        return _Requests(self._channel.stream_stream(method, None, response_deserializer, **registered), request_serializer)


class _OneRequest:
    """An rpc that takes one request."""

    def __init__(self, rpc: Any, serialize: _Serialize) -> None:
        self._rpc, self._serialize = rpc, serialize

    def __call__(self, request: Any, **options: Any) -> Any:
        return self._rpc(self._serialize(request), **options)


class _Requests:
    """An rpc that takes a stream of requests."""

    def __init__(self, rpc: Any, serialize: _Serialize) -> None:
        self._rpc, self._serialize = rpc, serialize

    def __call__(self, *requests: Any, **options: Any) -> "_Call":
        return _Call(self._rpc(*requests, **options), self._serialize)


class _Call:
    """A call that is written to."""

    def __init__(self, call: Any, serialize: _Serialize) -> None:
        self._call, self._serialize = call, serialize

    async def write(self, request: Any) -> None:
        await self._call.write(self._serialize(request))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)
