"""Limits that several services share, each with its unit and its reason. A service's own limits are in its own `limits` module."""

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""Largest gRPC message in bytes: a 4 MiB batch with room, and a large answer; the library's default of 4 MiB would cut answers off."""

MAX_ANSWER_BYTES = 14 * 1024 * 1024
"""Rows in one answer, bytes: a page that would be larger ends early, and its token leads on. The rest of a message of 16 MiB is for what
stands beside the rows."""

MAX_PIECE_BYTES = 1024 * 1024
"""Bytes of one message of a stream that carries something larger in pieces."""

MAX_TIME_UNIX_NANO = 2**63 - 2
"""Latest time a record can have, nanoseconds since 1970: 2262-04-11. One below the largest that 63 bits hold: that one means infinity in
DuckDB, and a segment with it would have no last time."""

MAX_PENDING_CALLS = 8_192
"""Calls that have arrived and that no handler has taken yet: a whole fleet that reconnects at once must fit."""

MAX_METADATA_BYTES = 16 * 1024
"""Metadata of one call in bytes: error details travel there."""

STREAM_WINDOW_BYTES = 512 * 1024
"""Bytes of one stream that are taken from the wire before its handler asks for them: what a handler that is held back costs. A message that
is larger comes whole. Over a network with a round trip of 50 ms one stream still carries 10 MB/s."""

SINK_WINDOW_BYTES = 4 * 1024 * 1024
"""The same for sinks: two deliveries, so that the next one is there when one has been worked on."""

MAX_ERROR_MESSAGE_BYTES = 1_800
"""An error's message in bytes (UTF-8): it travels twice, once with up to three bytes for each, and clients take 8 KiB of trailers."""

MAX_QUERY_TEXT_CHARACTERS = 10_000
"""Longest text that is searched for, in characters: more is a paste by mistake, and the model reads about 128 words anyway."""

MAX_PATTERN_TEXT_CHARACTERS = 2_048
"""How much of a message is masked into its pattern, in characters: what comes later is data, not wording, and must not fill the index."""

MAX_METRICS_CONNECTIONS = 16
"""Connections to `/metrics` at the same time: a few Prometheus servers and a person. One more ends the oldest."""

MAX_METRICS_REQUEST_BYTES = 8 * 1024
"""A request to `/metrics` with its headers, in bytes."""

METRICS_TIMEOUT_S = 10.0
"""How long a request to `/metrics` and its answer may take, seconds: as long as Prometheus waits by default."""

PROGRESS_INTERVAL_S = 2.5
"""Longest silence of a sink in seconds: ingest can tell a slow sink from a hung one. Four signs of life fit into the time after which it
counts as hung; each costs a little at rest, so there are no more."""

QUARANTINE_PAGE_BYTES = 1024 * 1024
"""Bytes of set-aside records that are listed or read again together; a single larger one comes alone. Far below the largest message."""

QUARANTINE_ENTRY_BYTES = 128
"""What one entry of a quarantine takes besides its payload and its reason, bytes: entries of two bytes must not come by the million."""

MAX_COPIED_RESOURCE_BYTES = 64 * 1024 * 1024
"""Copies of a batch's resource, one a record, when the batch is taken apart to find what cannot be read, bytes. One that would take more is
set aside whole: 16 attributes of 40 bytes stand beside 100,000 records before that."""

MAX_REASON_CHARACTERS = 1_000
"""Why something was set aside, characters: an error of a library may quote what it could not read."""

MAX_NAME_BYTES = 256
"""Bytes (UTF-8) of a service, an environment or an attribute's key that are stored: names stand in every answer that groups, and few long
ones would make it larger than a message may be. A longer one is cut, and kept whole as an attribute."""

MAX_ASKED_NAME_BYTES = 4_096
"""Bytes of a service or environment that is asked for: records that earlier versions stored have names of up to 1,024 characters."""

MAX_MIN_POSITIONS = 64
"""Positions that a call may wait for: one a log."""

COUNTED_REQUEST_BYTES = 64 * 1024
"""Requests over so many bytes are counted on the wire before they are unfolded: a smaller one cannot hold enough to matter, 2 MiB."""

MAX_REQUEST_FIELDS = 131_072
"""Fields of one request: more than two filters hold whose lists are all full, and 0.1 s of counting."""

MAX_DELIVERED_FRAMES = 65_536
"""Frames of one delivery: ingest sends fewer, so that the sink's loop is not held by frames of a single short record each."""

MAX_REFLECTION_NAME_BYTES = 1_024
"""A name that health or reflection is asked for, in bytes: ours are shorter than 100."""

MAX_UNREAD_S = 60.0
"""How long a caller may take nothing of an answer, seconds, before its call is ended: it holds a turn, and files, that others wait for.
After the same time again without taking anything, it loses its connection: before that, gRPC frees nothing."""

MAX_UNREAD_BYTES = 64 * 1024 * 1024
"""Bytes of answers of one server that callers have not taken yet; one caller holds half of them at most. Each takes twice its size: as it
was made, and as gRPC has it."""

UNCOUNTED_ANSWER_BYTES = 16 * 1024
"""Answers up to so many bytes are not counted among those: the window of a stream takes several at once."""

MAX_OPEN_CALLS = 8_192
"""Calls of one server that have begun and not ended, 50 KiB each; one caller has half of them at most. As many as may arrive at once."""

MAX_LOCAL_CONNECTIONS = 1_024
"""Connections of its own host that have calls open at a server: each is a caller there, with a share of all that is shared out."""

MAX_LOG_START_OFFSET = 2**62
"""Where a log may begin: further on it would end where databases cannot count, and a sink that cannot write its progress ends."""

MAX_LOGS = 64
"""Logs that a sink follows in its life: each makes every answer longer. An ingest has one; a replaced data directory brings a new one."""

MAX_WAITING_DIGESTS = 16
"""Digests, or passes over a whole index, that wait for the one that runs: each takes about a second, and a line of more only grows."""

MIN_OPEN_FILES = 64
"""Files and connections that a service must be able to have open: each holds about 25 at rest."""

MAX_OPEN_FILES = 65_536
"""Files and connections that a service asks the system for: far more than all limits of ours together need."""
