"""Limits of the SDK, each with its unit and its reason."""

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""Largest gRPC message in bytes, as the services have it: a 4 MiB batch with room, and a large answer."""

MAX_BATCH_RECORDS = 1_000
"""Records in an uploaded batch: more gains nothing, as the cost of a batch is spread well before."""

LARGEST_BATCH_RECORDS = 50_000
"""Records in the largest batch that ingest takes; what an uploader is told to gather beyond is sent in several."""

LARGEST_BATCH_BYTES = 3 * 1024 * 1024
"""The same in bytes of encoded records: with what a batch needs besides, it stays under the 4 MiB that ingest takes."""

MAX_BATCH_BYTES = 1024 * 1024
"""Encoded records in an uploaded batch, in bytes: well under the 4 MiB that ingest takes, even with one record of 1 MiB more."""

MAX_RECORD_BYTES = 1024 * 1024
"""Largest record, encoded, in bytes: ingest rejects larger ones, so the uploader does not even send them."""

MAX_IN_FLIGHT_BATCHES = 5
"""Batches without an acknowledgement: as many as ingest can compare with a repeat, so that a resumed upload is never ambiguous."""

MAX_PENDING_BYTES = 16 * 1024 * 1024
"""Records that an uploader keeps until they are durable, in bytes: whoever sends faster than this drains waits."""

DRAIN_S = 5.0
"""How long an uploader goes on sending after an exception or at the end of the program, seconds: a restart of ingest, not an outage."""

RETRY_FOR_S = 300.0
"""How long an uploader tries again when nothing is acknowledged, seconds: an update of a machine, not a night."""

MAX_REJECTIONS_LISTED = 1_000
"""Refused records that an upload's result names one by one; the rest is counted."""

DEFAULT_TIMEOUT_S = 30.0
"""How long a call may take, seconds, unless told otherwise: longer than any healthy answer, shorter than a person waits."""

PAGE_SIZE = 1_000
"""Entries of a page where all pages are wanted: few calls, and each answer well below the largest message."""
