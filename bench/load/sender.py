"""Bytes onto the wire as they are: clients of ingest that serialise nothing."""

from collections.abc import Iterable, Iterator

import grpc

from treering.channels import CHANNEL_OPTIONS
from treering.v1.ingest_pb2 import StreamLogsResponse, UploadLogsResponse

UPLOAD = "/treering.v1.IngestService/UploadLogs"
STREAM = "/treering.v1.IngestService/StreamLogs"


class RawSender:
    """A connection of its own to ingest, for blocking use."""

    def __init__(self, address: str) -> None:
        options = (*CHANNEL_OPTIONS, ("grpc.use_local_subchannel_pool", 1))
        self._channel = grpc.insecure_channel(address, options=options)
        self._upload: grpc.StreamUnaryMultiCallable[bytes, UploadLogsResponse] = self._channel.stream_unary(
            UPLOAD, None, UploadLogsResponse.FromString
        )
        self._stream: grpc.StreamStreamMultiCallable[bytes, StreamLogsResponse] = self._channel.stream_stream(
            STREAM, None, StreamLogsResponse.FromString
        )

    def upload(self, batches: Iterable[bytes]) -> UploadLogsResponse:
        """One UploadLogs call; returns when everything is durable."""
        return self._upload(iter(batches))

    def stream(self, batches: Iterable[bytes]) -> Iterator[StreamLogsResponse]:
        """One StreamLogs call; yields acknowledgements."""
        return self._stream(iter(batches))

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()
