"""How a blocking client sends its requests."""

from collections.abc import Iterator, Mapping
from typing import Any

import grpc

from treering.errors import from_call
from treering.rpc import Rpc


class BlockingCaller:
    """Sends the requests of a client's methods, and makes a `TreeringError` of what fails.

    Args:
        stubs: By service: ingest, embed, query.
        addresses: The same for what errors name.
        timeout: The deadline of calls that name none, seconds.
    """

    def __init__(self, stubs: Mapping[str, Any], addresses: Mapping[str, str], timeout: float) -> None:
        self.timeout = timeout
        self._stubs = stubs
        self._addresses = addresses

    def call(self, rpc: Rpc, request: Any, timeout: float | None) -> Any:
        """Sends one request and waits for its response; the methods of the client are the typed way.

        Raises:
            TreeringError: The call failed.
        """
        try:
            return getattr(self._stubs[rpc.service], rpc.name)(request, timeout=rpc.deadline(timeout, self.timeout))
        except grpc.RpcError as error:
            raise from_call(error, self._addresses[rpc.service]) from error

    def stream(self, rpc: Rpc, request: Any, timeout: float | None) -> Iterator[Any]:
        """Sends one request and iterates over its responses; leaving the iteration cancels the call.

        Raises:
            TreeringError: The call failed.
        """
        call = getattr(self._stubs[rpc.service], rpc.name)(request, timeout=rpc.deadline(timeout, self.timeout))
        try:
            yield from call
        except grpc.RpcError as error:
            raise from_call(error, self._addresses[rpc.service]) from error
        finally:
            call.cancel()
