"""IngestService and IngestAdminService on the wire: translate, delegate, translate."""

from collections.abc import AsyncIterator
from typing import Any

import grpc

from treering.v1.admin_pb2 import DigestLogRequest, DigestLogResponse
from treering.v1.ingest_pb2 import (
    GetIngestStatusRequest,
    GetIngestStatusResponse,
    RejectedRecord,
    RejectionCount,
    StreamLogsResponse,
    UploadLogsResponse,
)
from treering_ingest.digest import LogDigester
from treering_ingest.intake import Intake
from treering_ingest.status import StatusReport
from treering_ingest.upload import Acknowledgement, Shipment, Upload, UploadOutcome

SERVICE_NAME = "treering.v1.IngestService"
ADMIN_SERVICE_NAME = "treering.v1.IngestAdminService"


class IngestHandlers:
    """The handlers. UploadLogs and StreamLogs get batches as the bytes that came, because the log stores exactly these."""

    def __init__(self, intake: Intake, status: StatusReport) -> None:
        self._intake = intake
        self._status = status
        self._log = intake.committer.log
        self._digester = LogDigester(self._log)

    def register(self, server: grpc.aio.Server) -> None:
        """Adds the service to a server that has not started."""
        # No deserializer: gRPC hands out the bytes. Serialised again they could be others, and the log stores what was received.
        methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "UploadLogs": grpc.stream_unary_rpc_method_handler(self.upload_logs, None, UploadLogsResponse.SerializeToString),
            "StreamLogs": grpc.stream_stream_rpc_method_handler(self.stream_logs, None, StreamLogsResponse.SerializeToString),
            "GetIngestStatus": grpc.unary_unary_rpc_method_handler(
                self.get_ingest_status, GetIngestStatusRequest.FromString, GetIngestStatusResponse.SerializeToString
            ),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE_NAME, methods),))

    def register_admin(self, server: grpc.aio.Server) -> None:
        """Adds the service of the inner plane to a server that has not started."""
        digest = grpc.unary_unary_rpc_method_handler(self.digest_log, DigestLogRequest.FromString, DigestLogResponse.SerializeToString)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(ADMIN_SERVICE_NAME, {"DigestLog": digest}),))

    def close(self) -> None:
        """Ends the thread of the digests; calls that wait for it are cancelled."""
        self._digester.close()

    async def upload_logs(self, batches: AsyncIterator[bytes], context: object) -> UploadLogsResponse:
        """Takes all batches, answers once."""
        del context
        # Before the first batch is read: of a stream that is refused nothing is parsed.
        self._intake.open_stream()
        try:
            outcome = await Upload(self._intake).run(batches)
        finally:
            self._intake.close_stream()
        return UploadLogsResponse(
            accepted_count=outcome.accepted_count,
            duplicate_count=outcome.duplicate_count,
            rejection_counts=_rejection_counts(outcome),
            rejected_records=_rejected_records(outcome),
            log_id=self._intake.log_id,
            end_offset_exclusive=outcome.end_offset,
        )

    async def stream_logs(self, batches: AsyncIterator[bytes], context: object) -> AsyncIterator[StreamLogsResponse]:
        """Takes batches and acknowledges them as they become durable."""
        del context
        self._intake.open_stream()
        shipment = Shipment(self._intake, batches)
        # No await since `open_stream`: a drain cannot come between, and be missed.
        self._intake.drained.listen(shipment.end_early)
        try:
            while acknowledgements := await shipment.acknowledge():
                for acknowledgement in acknowledgements:
                    # Durable already, as the policy says. A caller that hangs up here was told less than is stored, never more.
                    yield self._stream_response(acknowledgement)
        # Also for a call that is cancelled: a stream that is not counted out would hold its place, and the stop, for ever.
        finally:
            self._intake.drained.forget(shipment.end_early)
            shipment.close()  # first: a stop that sees no stream any more seals the log
            self._intake.close_stream()

    async def get_ingest_status(self, request: GetIngestStatusRequest, context: object) -> GetIngestStatusResponse:
        """The state at this moment."""
        del request, context
        return self._status.now()

    async def digest_log(self, request: DigestLogRequest, context: object) -> DigestLogResponse:
        """A part of the log in digests."""
        del context
        found = await self._digester.digest(request.first_offset, request.end_offset_exclusive, request.step)
        return DigestLogResponse(log_id=self._log.log_id, start_offset=self._log.start_offset, ranges=found.runs, problem=found.problem)

    def _stream_response(self, acknowledgement: Acknowledgement) -> StreamLogsResponse:
        outcome = acknowledgement.outcome
        return StreamLogsResponse(
            producer_id=acknowledgement.producer_id.decode(),
            last_durable_sequence=acknowledgement.last_durable_sequence,
            accepted_count=outcome.accepted_count,
            duplicate_count=outcome.duplicate_count,
            rejection_counts=_rejection_counts(outcome),
            rejected_records=_rejected_records(outcome),
            log_id=self._intake.log_id,
            end_offset_exclusive=outcome.end_offset,
        )


def _rejection_counts(outcome: UploadOutcome) -> list[RejectionCount]:
    return [RejectionCount(reason=reason, count=count) for reason, count in sorted(outcome.rejection_counts.items())]


def _rejected_records(outcome: UploadOutcome) -> list[RejectedRecord]:
    return [RejectedRecord(index=item.index, reason=item.reason) for item in outcome.rejected]
