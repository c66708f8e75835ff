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


def digest_log(first_offset: int, end_offset: int, *, step: int = 4_096, timeout: float | None = None) -> Call[ingest_pb2.DigestLogRequest]:
    """Reads a part of the log again and digests it, to be compared with `digest_store`. `treering verify` does it for everything.

    Args:
        first_offset: Where to begin.
        end_offset: Where to end, at most 262,144 later.
        step: Offsets in one run; at most 4,096 runs.
        timeout: See the module.
    """
    return Call(ingest_pb2.DigestLogRequest(first_offset=first_offset, end_offset_exclusive=end_offset, step=step), timeout)
