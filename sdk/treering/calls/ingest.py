"""The rpcs of IngestService."""

from collections.abc import Iterable

from treering.calls.call import Call
from treering.v1 import ingest_pb2


def upload_logs(
    batches: Iterable[ingest_pb2.UploadLogsRequest], *, timeout: float | None = None
) -> Call[Iterable[ingest_pb2.UploadLogsRequest]]:
    """Uploads batches and answers once, when all are durable. The bare rpc: no resuming; `uploader` is what most programs want.

    Args:
        batches: Batches under 4 MiB. With a `producer_id` and sequences 1, 2, 3, ... a repeat is recognised and stored once.
        timeout: See the module.

    Returns:
        Counts of stored, repeated and refused records, and where they end in the log.
    """
    # Without a default deadline (`endless` in `methods`): how long the batches take is the caller's affair.
    return Call(batches, timeout)


def stream_logs(
    batches: Iterable[ingest_pb2.StreamLogsRequest], *, timeout: float | None = None
) -> Call[Iterable[ingest_pb2.StreamLogsRequest]]:
    """Uploads batches for as long as they come, and yields acknowledgements. The bare rpc: `uploader` resumes and batches.

    Returns:
        An iterator of acknowledgements; each stands for all batches of its producer up to its sequence.
    """
    return Call(batches, timeout)


def get_ingest_status(*, timeout: float | None = None) -> Call[ingest_pb2.GetIngestStatusRequest]:
    """How the log and its sinks are doing: offsets, bytes, each sink's progress and lag, limits in force."""
    return Call(ingest_pb2.GetIngestStatusRequest(), timeout)
