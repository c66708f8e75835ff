"""Records that a sink set aside because it could not read them, for people who look after the system."""

from collections.abc import Iterator, Mapping
from typing import Literal

import grpc

from treering.errors import from_call
from treering.v1 import sink_pb2
from treering.v1.sink_pb2_grpc import SinkServiceStub

SinkName = Literal["embed", "query"]


class SinkQuarantine:
    """The quarantine of one sink; `AdminClient.quarantine` makes it.

    Args:
        channel: A connection to the sink's inner plane.
        address: What errors call it.
        selection: Which records: log_id, first_offset, end_offset_exclusive.
    """

    def __init__(self, channel: grpc.Channel, address: str, selection: Mapping[str, int]) -> None:
        self._address = address
        self._sink = SinkServiceStub(channel)
        self._selection = selection

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
        # Also when the iteration is left early: payloads that nobody takes would wait in the service.
        finally:
            call.cancel()

    def retry(self, *, timeout: float | None = None) -> Iterator[sink_pb2.RetryQuarantinedResponse]:
        """Has what is set aside read again: how far that is, again and again; the last one is the result.

        What can be read now is stored at its original position. Can be repeated at any time; records are stored once.

        Raises:
            TreeringError: The call failed; whole parts of it are done.
        """
        # Whole pages are done even when this fails or is given up: what is stored by then stays stored.
        call = self._sink.RetryQuarantined(sink_pb2.RetryQuarantinedRequest(**self._selection), timeout=timeout)
        try:
            yield from call
        except grpc.RpcError as error:
            raise from_call(error, self._address) from error
