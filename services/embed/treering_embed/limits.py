"""Limits of the embedding service, each with its unit and its reason."""

MAX_WORDPIECES = 128
"""Wordpieces that are read of a text, special ones included: more than 64 changed no ranking in measurements, and cost time."""

MAX_ENCODE_TEXTS = 16
"""Texts in one run of the model: bounds a run of short texts as `MAX_ENCODE_WORDPIECES` bounds one of long texts."""

MAX_ENCODE_WORDPIECES = 512
"""Wordpieces in one run of the model, padding included: a search that arrives during a run waits for its end, 35 ms on two cores, and
larger runs are no faster."""

UNCONTENDED_CPU_SHARE = 0.85
"""Processor time over duration of a run above which nobody else needed its core: 0.93 to 0.98 on idle cores."""

CONTENTION_BACKOFF = 4.0
"""Pause after a run for new patterns that had to share its core while the log is ahead of the sinks, in processor times of that run: the
model then takes a fifth of a core for each of its threads."""

SPARE_SHARE = 0.02
"""Part of the places for patterns that is kept free: where less is left, twice as many of those that were not seen for longest give way. To
find and delete as many takes less than a second with 200,000."""

PROVEN_SHARE = 0.5
"""Part of the places that patterns keep which were seen on more than one day, against any number of patterns that were not."""

MAX_GIVING_WAY_S = 10.0
"""Seconds since its registration for which a new pattern gives way at most: a burst of new texts is over in less, and a log that stays
ahead of its sinks for longer must not keep new patterns from being found."""

BEHIND_RECORDS = 20_000
"""Records that the log holds beyond a delivery from which on the sink counts as behind: one more full delivery. 50,000 records/s in small
batches leave 5,000."""

LAG_HOLDS_S = 2.0
"""How long a delivery that left a sink behind counts, seconds: the next one says more, and no delivery at all is no reason to pause."""

MAX_WAITING_SEARCHES = 64
"""Searches that wait for the model; beyond it the service is overloaded and says so, before callers time out."""

MAX_WAITING_TEXTS = 1_024
"""Texts of EmbedTexts that wait for the model, all calls together: about three seconds of work on two cores."""

MAX_PASSED_OVER = 4
"""Runs of the model that more urgent texts have while others wait, before one of those has its turn: under any flood of searches or texts
new patterns keep a fifth of the model."""

OVERLOAD_RETRY_S = 0.5
"""When to try again after an overload, seconds: the waiting searches are done in less."""

LATE_DIMENSION = 96
"""Numbers in a token vector that is kept for late interaction: a quarter of the model's 384 rank nearly as well as all of them."""

RERANK_DEPTH = 100
"""Candidates by the dense vector that are scored by late interaction: more did not improve the ranking."""

MAX_REQUEST_ID_BYTES = 128
"""What a caller calls its request, bytes: the registry remembers it."""

DEFAULT_SEARCH_LIMIT = 10
"""Patterns that one search returns when the request does not say."""

MAX_SEARCH_LIMIT = 10_000
"""Patterns that one search may return: what fits one gRPC message with room."""

MAX_ALSO_SCORE = 10_000
"""Patterns that are scored besides the best: literal hits of one search are far fewer."""

MAX_RESTRICT = 500_000
"""Patterns that a search may be restricted to: above the largest registry, so that any filter fits."""

MAX_SERVICES = 10_000
"""Services that a search may be restricted to, compared one by one."""

MAX_SCORE_TEXTS = 16
"""Texts of one ScorePatterns: each is a pass over the whole index."""

SCORE_SLICE = 16_384
"""Patterns in one message of ScorePatterns: below the largest message with 16 texts."""

MAX_EMBED_TEXTS = 256
"""Texts of one EmbedTexts: below a second of work."""

MAX_FORGET = 10_000
"""Patterns of one ForgetPatterns."""

MAX_MODEL_NAME_CHARACTERS = 255
"""Name of a model, characters: what a directory's name may have."""

INDEX_BATCH = 256
"""Patterns that are encoded and upserted together: among as many, texts of one length are found to fill the runs of the model."""

REINDEX_BATCH = 64
"""Patterns that a reindex encodes together: half a second in which the swap, or new patterns of the same model, wait."""

INDEX_SEARCH_TIMEOUT_S = 3
"""Deadline of a search in an index server, seconds: below what the query service waits before it answers without."""

FLUSH_INTERVAL_S = 2.0
"""Longest time in seconds that vectors wait for a flush (and their patterns for being called indexed) while others follow."""

RELEASE_AFTER_PATTERNS = 500
"""New vectors after which freed memory is given back: a burst of new patterns leaves much of it, a few leave little, and giving it back
stops the model for some milliseconds."""

COMMIT_LINGER_S = 0.05
"""How long progress is gathered before it is committed, seconds: one fsync for all batches in it, and no more than 20 a second."""

MAX_UNCOMMITTED_PATTERNS = 10_000
"""Patterns that wait for their commit; delivery waits beyond it. Reached only while the disk refuses writes."""

MAX_UNCOMMITTED_QUARANTINE_BYTES = 16 * 1024 * 1024
"""Bytes of set-aside records that wait for their commit; delivery waits beyond it. Four of the largest batches."""

MAX_TIMED_PATTERNS = 50_000
"""New patterns whose way to the index is timed at once, 100 bytes each; a burst of more is timed by its first."""

MAX_REFUSED_REMEMBERED = 1_000_000
"""Patterns over a cap that are remembered to count each once, 8 to 90 bytes each; counting stops there."""

MAX_KEYWORD_ONLY_REMEMBERED = 1_000_000
"""Patterns over a cap, or that gave way, whose ids the registry keeps, 30 bytes each: `treering verify` tells them from lost ones."""

RETRY_MIN_S = 0.5
"""First pause after a fault of the environment (disk, index, peer), seconds; doubled each time up to `RETRY_MAX_S`."""

RETRY_MAX_S = 30.0
"""Longest pause between attempts, seconds."""

MAX_RUNNING_SEARCHES = 4
"""Searches that are worked on at a time, half of them of one caller, the others wait for their turn: one is encoded while the index is
asked for another."""

INDEX_THREADS = MAX_RUNNING_SEARCHES + 4
"""Calls to the index at a time. As many as may be made: searches; one scoring of all patterns, one digest, one that fills, one that
removes. So none waits for a thread that another kind has taken. Edge runs one after the other anyway."""

MIN_FREE_BYTES = 256 * 1024 * 1024
"""Space that must be free before the embedded index is opened or written, bytes: it maps its files, and a full disk would kill the process
with SIGBUS. Four of its 32 MiB pages, a segment, and room."""

INDEX_TIMEOUT_S = 10
"""Deadline of one call to an index server, seconds."""

SQLITE_BUSY_S = 10.0
"""How long the registry waits for a reader that holds it (a person with `sqlite3`), seconds."""

DIGEST_SLICE = 65_536
"""Pattern ids in one message of DigestIndex: half a MiB."""
