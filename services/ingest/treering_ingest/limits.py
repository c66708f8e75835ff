"""The limits of ingest, each with its unit and its reason. GetIngestStatus reports them by these names in lower case."""

MAX_BATCH_BYTES = 4 * 1024 * 1024
"""One batch in bytes, encoded: bounds what one call can make the service hold, and how much a frame can lose."""

MAX_BATCH_RECORDS = 50_000
"""Records of one batch: unfolding and looking at more would hold everybody else up for too long, and larger batches gain nothing."""

COUNTED_BATCH_BYTES = 1024 * 1024
"""Batches over so many bytes are counted on the wire before they are unfolded: a smaller one unfolds to 30 MiB at most, in 30 ms."""

MAX_RECORD_BYTES = 1024 * 1024
"""One record in bytes, encoded: a larger one is a file, not a log line, and would starve its neighbours in every later step."""

MAX_RESOURCE_ATTRIBUTES = 128
"""Attributes of a batch's resource: what describes a process and its host has 10 to 40. Each record is read as if it had them."""

MAX_RESOURCE_VALUE_BYTES = 64 * 1024
"""Values of a batch's resource together, in bytes (UTF-8): they are part of every record that is shown."""

MAX_PRODUCER_ID_BYTES = 128
"""A producer's id in bytes (UTF-8): it is kept in memory and in every frame."""

MAX_PRODUCERS = 10_000
"""Producers that the log remembers; the one that has been silent longest is forgotten first, but none that is active. About 1 KiB of memory
each."""

PRODUCER_ACTIVE_S = 300.0
"""Seconds after its newest batch for which a producer is not forgotten, however many new ones come: a sender that lost its connection is
back before."""

PRODUCER_HISTORY_BATCHES = 5
"""Hashes kept for each producer: a repeat within so many batches is recognised byte for byte."""

MAX_LISTED_REJECTIONS = 1_000
"""Rejected records listed one by one in an answer; further ones are only counted, so that an answer stays small."""

MAX_WAITING_BYTES = 32 * 1024 * 1024
"""Bytes of batches that may wait for the disk: about a second of a slow disk. Streams beyond are held by flow control."""

BATCH_OVERHEAD_BYTES = 256
"""What a waiting batch counts for besides its payload: Python's objects around it. Without it, empty batches would wait without bound."""

MAX_WAIT_FOR_ROOM_S = 10.0
"""Seconds that a stream waits for that room before it is told to come back later: long enough for a hiccup of the disk."""

MAX_STREAMS = 4_096
"""Open upload streams: each costs about 40 KiB and a descriptor."""

MAX_GROUP_BYTES = 8 * 1024 * 1024
"""One group commit in bytes: keeps the pause of the first waiter short."""

LINGER_BYTES = 1024 * 1024
"""So many waiting bytes are written at once even if nobody waits for their acknowledgement: a sync of more costs as much a byte."""

ACKNOWLEDGE_PAUSE_S = 0.01
"""Pause before an acknowledgement on a StreamLogs call that has many small batches on their way, seconds: they are committed and
acknowledged together, which costs less a batch. A sender that waits for each answer, and one of large batches, gets them at once."""

MANY_BATCHES = PRODUCER_HISTORY_BATCHES
"""More batches of one StreamLogs call than this, all on their way, are many: a sender that keeps to what can be compared after a disconnect
never has so many, and waits for the answers."""

SMALL_BATCHES_RECORDS = 1_000
"""Batches on their way that together hold fewer records than this are small."""

GATHER_S = 0.002
"""How long batches of a stream whose sender goes on are gathered before they are looked at, seconds: a small batch costs less than half
when it is one of many. A sender that may be waiting for an answer is not kept waiting."""

GATHER_BYTES = 32 * 1024
"""So many bytes of one stream are looked at without delay: fewer would cost more, many more would hold everybody else up for too long."""

MAX_GATHERED_BATCHES = 1_024
"""Batches of one stream that may be read and not yet looked at: bounds what batches of no size can fill."""

COMPANY_S = 0.003
"""How long an acknowledgement is kept back for others that are expected to share its sync, seconds: about as long as a sync of a busy disk
takes anyway. One who sends alone expects nobody."""

MAX_UNACKNOWLEDGED_BATCHES = 1_024
"""Batches of one StreamLogs call that may be without an acknowledgement: bounds what the call holds."""

DELIVERY_REQUEST_BYTES = 2 * 1024 * 1024
"""One delivery in bytes: a sink decodes and masks 15,000 records at once for a third of what they cost one batch at a time; larger
deliveries gain little more, and their decoding would hold the sink's interpreter for too long."""

DELIVERY_PAUSE_S = 0.05
"""Pause after a delivery that was not full, seconds: many small batches become one delivery, and none waits noticeably longer."""

DELIVERY_WINDOW_BYTES = 16 * 1024 * 1024
"""Bytes sent to a sink beyond its `next_offset`: keeps the pipe full and the sink's memory bounded."""

SINK_SILENCE_S = 10.0
"""Seconds without progress messages after which a sink counts as hung: it owes one every 2.5."""

RECONNECT_FIRST_S = 0.1
"""First pause before a sink is called again, seconds; it doubles up to RECONNECT_MAX_S, with jitter."""

RECONNECT_MAX_S = 5.0
"""Longest pause before a sink is called again, seconds: a restarted sink is found soon, a dead one costs nothing."""

VERIFY_AT_START_BYTES = 64 * 1024 * 1024
"""How much of the newest sealed segments is read and checked at start, bytes: what a crash may have touched, without a slow start."""

DISK_RETRY_S = 0.5
"""How often a write that found the disk full is tried again, and how often free space is looked at, seconds."""

MAX_DIGEST_OFFSETS = 262_144
"""Offsets that one call digests: about a second of work, so that a caller sees progress and a deadline holds."""

MAX_DIGEST_RUNS = 4_096
"""Runs in one answer about digests."""
