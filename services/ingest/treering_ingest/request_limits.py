"""The limits of what ingest is given: one row for each text, list and number. See `treering_runtime.request_limits`.

Batches come as bytes; `admission` holds them against these rows.
"""

from collections.abc import Mapping

from treering_ingest.limits import MAX_BATCH_RECORDS, MAX_PRODUCER_ID_BYTES, MAX_RECORD_BYTES
from treering_runtime.request_limits import OFFSET, Free, Limit, Many, Text

_RECORD = Free(f"a record has at most {MAX_RECORD_BYTES // 1024**2} MiB")
_NAME = Free("cut when it is stored")
PRODUCER_ID = Text(MAX_PRODUCER_ID_BYTES, "a random UUID is a good choice", "bytes")
RECORDS = Many(MAX_BATCH_RECORDS, "send smaller batches")
_SEQUENCE = Free("compared with the one before")

LIMITS: Mapping[str, Limit] = {
    "UploadLogsRequest.producer_id": PRODUCER_ID,
    "UploadLogsRequest.sequence": _SEQUENCE,
    "UploadLogsRequest.records": RECORDS,
    # The same rows again: a batch is the same bytes whichever way it comes.
    "StreamLogsRequest.producer_id": PRODUCER_ID,
    "StreamLogsRequest.sequence": _SEQUENCE,
    "StreamLogsRequest.records": RECORDS,
    "LogRecord.time_unix_nano": Free("put right where no record may have it"),
    "LogRecord.severity": Free("put right where no record may have it"),
    "LogRecord.service": _NAME,
    "LogRecord.environment": _NAME,
    "LogRecord.message": _RECORD,
    "LogRecord.attributes": _RECORD,
    "AttributesEntry.key": _NAME,
    "AttributesEntry.value": _RECORD,
    "LogRecord.trace_id": Free("put right where it has another length"),
    "LogRecord.span_id": Free("put right where it has another length"),
    "DigestLogRequest.first_offset": OFFSET,
    "DigestLogRequest.end_offset_exclusive": Free("checked against first_offset"),
    "DigestLogRequest.step": Free("checked against the range"),
}
