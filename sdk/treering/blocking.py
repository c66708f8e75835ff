"""How a blocking client sends its requests."""

from collections.abc import Iterator
from typing import Any

import grpc

from treering.errors import from_call
from treering.limits import PAGE_SIZE
from treering.rpc import Rpc, Service


class BlockingCaller:
    """Sends the requests of a client's methods, and makes a `TreeringError` of what fails."""

    timeout: float
    """The deadline of calls that name none, seconds."""

    def _stub(self, service: Service) -> Any:
        raise NotImplementedError

    def _address(self, service: Service) -> str:
        """What errors call it."""
        raise NotImplementedError

    def call(self, rpc: Rpc, request: Any, timeout: float | None) -> Any:
        """Sends one request and waits for its response; the methods of the client are the typed way.

        Raises:
            TreeringError: The call failed.
        """
        try:
            return getattr(self._stub(rpc.service), rpc.name)(request, timeout=rpc.deadline(timeout, self.timeout))
        except grpc.RpcError as error:
            raise from_call(error, self._address(rpc.service)) from error

    def stream(self, rpc: Rpc, request: Any, timeout: float | None) -> Iterator[Any]:
        """Sends one request and iterates over its responses; leaving the iteration cancels the call.

        Raises:
            TreeringError: The call failed.
        """
        call = getattr(self._stub(rpc.service), rpc.name)(request, timeout=rpc.deadline(timeout, self.timeout))
        try:
            for response in call:
                yield from rpc.parts(response)
        except grpc.RpcError as error:
            raise from_call(error, self._address(rpc.service)) from error
        # Runs when the generator is closed, also by `break`: a call that nobody reads holds a turn at the service.
        finally:
            call.cancel()

    def pages(self, rpc: Rpc, request: Any, timeout: float | None) -> Iterator[Any]:
        """Sends the request again and again, and iterates over the parts of all pages; `timeout` is for each page."""
        # A size that the caller set stays; the contract's default is too small for reading everything.
        if not request.HasField("page_size"):
            request.page_size = PAGE_SIZE
        while True:
            page = self.call(rpc, request, timeout)
            yield from rpc.parts(page)
            if not rpc.turn(request, page):
                return

    def collect(self, rpc: Rpc, request: Any, timeout: float | None) -> Any:
        """Sends one request and makes one result of all responses."""
        return rpc.response(self.stream(rpc, request, timeout))
