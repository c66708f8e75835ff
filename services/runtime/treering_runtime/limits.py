"""Limits that several services share, each with its unit and its reason. A service's own limits are in its own `limits` module."""

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""Largest gRPC message in bytes: a 4 MiB batch with room, and a large answer; the library's default of 4 MiB would cut answers off."""

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

PROGRESS_INTERVAL_S = 2.5
"""Longest silence of a sink in seconds: ingest can tell a slow sink from a hung one. Four signs of life fit into the time after which it
counts as hung; each costs a little at rest, so there are no more."""

QUARANTINE_PAGE_BYTES = 1024 * 1024
"""Bytes of set-aside records that are listed or read again together; a single larger one comes alone. Far below the largest message."""

MAX_NAME_CHARACTERS = 1_024
"""Characters of a service or environment that are stored: names stand in every answer that groups, and few long ones would make it larger
than a message may be. A longer one is cut, and kept whole as an attribute."""

MAX_LOGS = 64
"""Logs that a sink follows in its life: each makes every answer longer. An ingest has one; a replaced data directory brings a new one."""
