"""The limits of what ingest is given: one row for each text, list and number. See `treering_runtime.request_limits`.

Batches come as bytes; `admission` holds them against these rows.
"""

from collections.abc import Mapping

from treering_ingest.limits import (
    MAX_BATCH_RECORDS,
    MAX_PRODUCER_ID_BYTES,
    MAX_RECORD_BYTES,
    MAX_RESOURCE_ATTRIBUTES,
    MAX_RESOURCE_VALUE_BYTES,
)
from treering_runtime.limits import MAX_NAME_BYTES
from treering_runtime.request_limits import OFFSET, Free, Limit, Many, Text

_RECORD = Free(f"a record has at most {MAX_RECORD_BYTES // 1024**2} MiB")
_NAME = Free("cut when it is stored")
PRODUCER_ID = Text(MAX_PRODUCER_ID_BYTES, "a random UUID is a good choice", "bytes")
RECORDS = Many(MAX_BATCH_RECORDS, "send smaller batches")
RESOURCE = Many(MAX_RESOURCE_ATTRIBUTES, "keep what tells senders apart")
RESOURCE_KEY = Text(MAX_NAME_BYTES, "shorten the key", "bytes", zero_bytes=True)
_SEQUENCE = Free("compared with the one before")

LIMITS: Mapping[str, Limit] = {
    "UploadLogsRequest.producer_id": PRODUCER_ID,
    "UploadLogsRequest.sequence": _SEQUENCE,
    "StreamLogsRequest.producer_id": PRODUCER_ID,
    "StreamLogsRequest.sequence": _SEQUENCE,
    "LogBatch.records": RECORDS,
    "LogBatch.resource_logs": Free("refused: not served yet"),
    "LogBatch.resource": RESOURCE,
    "LogBatch.idempotency_key": Free("refused: not served yet"),
    "ResourceEntry.key": Free(f"one of more than {MAX_NAME_BYTES} bytes is refused"),
    "ResourceEntry.value": Free(f"all values of a resource together have at most {MAX_RESOURCE_VALUE_BYTES // 1024} KiB"),
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
