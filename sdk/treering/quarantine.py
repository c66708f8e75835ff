"""Records that a sink set aside because it could not read them: the sinks' own door, for people who look after the system."""

from collections.abc import Iterator
from types import TracebackType
from typing import Self

import grpc

from treering.channels import connect
from treering.errors import from_call
from treering.v1 import sink_pb2
from treering.v1.sink_pb2_grpc import SinkServiceStub


class SinkQuarantine:
    """The quarantine of one sink, `embed` or `query`. A context manager.

    Args:
        address: Where the sink answers, host:port.
        log_id: Only records of this log; 0 = of every log.
        first_offset: Only from this offset on.
        end_offset_exclusive: Only below this offset; 0 = to the end.
    """

    def __init__(self, address: str, *, log_id: int = 0, first_offset: int = 0, end_offset_exclusive: int = 0) -> None:
        self._address = address
        self._channel = connect(address)
        self._sink = SinkServiceStub(self._channel)
        self._selection = {"log_id": log_id, "first_offset": first_offset, "end_offset_exclusive": end_offset_exclusive}

    def entries(self, *, with_payload: bool = False, timeout: float | None = None) -> Iterator[sink_pb2.QuarantinedRecords]:
        """What is set aside, by log and offset; `timeout` in seconds is for all of it.

        Raises:
            TreeringError: The call failed.
        """
        request = sink_pb2.ListQuarantineRequest(with_payload=with_payload, **self._selection)
        call = self._sink.ListQuarantine(request, timeout=timeout)
        try:
            for response in call:
                yield from response.entries
        except grpc.RpcError as error:
            raise from_call(error, self._address) from error
        finally:
            call.cancel()

    def retry(self, *, timeout: float | None = None) -> Iterator[sink_pb2.RetryQuarantinedResponse]:
        """Has what is set aside read again: how far that is, again and again; the last one is the result.

        What can be read now is stored at its original position. Can be repeated at any time; records are stored once.

        Raises:
            TreeringError: The call failed; whole parts of it are done.
        """
        call = self._sink.RetryQuarantined(sink_pb2.RetryQuarantinedRequest(**self._selection), timeout=timeout)
        try:
            yield from call
        except grpc.RpcError as error:
            raise from_call(error, self._address) from error

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
