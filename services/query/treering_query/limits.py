"""Limits of the query service, each with its unit and its reason. What an operator may want to change is in `settings`."""

from treering_runtime.limits import MAX_TIME_UNIX_NANO as _LATEST

MAX_FILTER_SERVICES = 1_000
"""Services in one filter: more is a job for an attribute."""

MAX_FILTER_ENVIRONMENTS = 1_000
"""Environments in one filter."""

MAX_FILTER_ATTRIBUTES = 32
"""Attribute conditions in one filter: each costs a pass over the maps."""

MAX_FILTER_ATTRIBUTE_VALUES = 1_000
"""Values of one attribute condition."""

MAX_FILTER_POSITIONS = 10_000
"""Positions in one filter: an answer's worth of records."""

MAX_FILTER_PATTERNS = 10_000
"""Patterns in one filter."""

MAX_FILTER_TEXT_CHARACTERS = 10_000
"""Length of a text that messages or attributes are compared with, in characters."""

MAX_FILTER_TEXT_CONDITIONS = 100
"""Conditions on the message, or on the value of one attribute, in one list."""

MAX_FILTER_RANGES = 1_000
"""Runs of offsets in one filter: each is three comparisons a record."""

MAX_FILTER_NODES = 1_000
"""Filters in one tree below its root, of each filter of a request."""

MAX_FILTER_DEPTH = 32
"""Levels of a tree below its root: what plans a statement takes time that grows faster than its depth."""

MAX_FILTER_CONDITIONS = 10_000
"""Conditions in one tree: each is planned, and evaluated for each record that those before it leave open."""

MAX_FOLLOWED_CONDITIONS = 1_000
"""Conditions in one tree of a tail or a watch: one statement reads for all who follow, and each look plans it anew, 0.2 s for so many."""

MAX_FILTER_VALUES = 65_536
"""Values in the lists of one tree, together: one filter whose lists are all full has as many."""

MAX_FILTER_JOINS = 40
"""Lists of over 100 values, or of templates, in one tree: each is a join; twice as many are planned four times as long, 40 in 0.1 s."""

MAX_FILTER_EXPRESSIONS = 100
"""Regular expressions and words in one tree: each is compiled for each thread that reads."""

MAX_EXPRESSION_CHARACTERS = 1_000
"""Length of a regular expression, word or phrase in characters."""

MAX_EXPRESSION_STEPS = 10_000
"""Steps, about, of the programs of the regular expressions in one tree together: 15 ms of compiling, and a bound for the time of a byte."""

MAX_PHRASE_WORDS = 32
"""Words of one phrase."""

MAX_ATTRIBUTE_KEY_BYTES = 256
"""Length of an attribute's key in bytes where it is grouped by or computed from."""

MAX_TIME_UNIX_NANO = _LATEST
"""Latest time a record can have, nanoseconds since 1970: 2262-04-11."""

TRACE_ID_BYTES = 16
"""Length of a trace id in bytes."""

MAX_SQL_CHARACTERS = 100_000
"""Length of a user's SQL in characters."""

DEFAULT_SQL_ROWS = 100_000
"""Rows of a SQL result when the request does not say."""

MAX_SQL_ROWS = 10_000_000
"""Most rows of a SQL result: more is an export."""

DEFAULT_SQL_TIMEOUT_MS = 30_000
"""Time of a SQL query in milliseconds when the request does not say."""

MAX_SQL_TIMEOUT_MS = 600_000
"""Longest time of a SQL query in milliseconds: it holds its segments and its process for so long."""

MAX_SQL_ZONES = 64
"""Literals with an offset or a zone in one statement: each is looked for in a plan of its own."""

MAX_SQL_TEXTS = 16
"""Texts that one SQL query asks the meaning of: embed scores as many together, each a pass over the whole index."""

MAX_ABOUT_TEXTS = 16
"""Different texts that the filters and groups of one request are about: embed scores as many together, each a pass over the whole index."""

MAX_ABOUT_CHARACTERS = 1_000
"""Length of a text that records are about, in characters: the model reads about the first 128 words."""

MAX_GROUP_BY = 8
"""Things that one aggregate groups by."""

MAX_METRICS = 16
"""Numbers of one aggregate."""

DEFAULT_AGGREGATE_LIMIT = 10_000
"""Groups of an aggregate when the request does not say."""

MAX_AGGREGATE_LIMIT = 100_000
"""Most groups of an aggregate: the answer is one message of at most 16 MiB."""

MAX_AGGREGATE_ROWS = 100_000
"""Most rows of an aggregate with buckets, for the same reason."""

MAX_BUCKETS = 10_000
"""Most time buckets of an aggregate: more than any screen shows."""

MIN_BUCKET_NANOS = 1_000_000
"""Shortest time bucket in nanoseconds."""

DAY_NANOS = 86_400_000_000_000
"""A day in nanoseconds."""

MAX_TIME_ZONE_CHARACTERS = 64
"""Name of a time zone, characters: the longest of IANA's has half as many."""

MAX_TOKEN_CHARACTERS = 16_384
"""Page token, characters: that of a search names each pattern that was shown, up to `MAX_PAGED_PATTERNS`."""

MAX_SEARCH_RESULTS = 1_000
"""Results of one search: more is not read by people, and programs have SQL."""

MAX_SAMPLES_PER_PATTERN = 100
"""Sample records a pattern."""

MAX_PAGED_PATTERNS = 1_000
"""Patterns that one search pages through: its page token names each that was shown, 8 bytes a pattern."""

MAX_LITERAL_BUDGET_MS = 60_000
"""Longest time that one search may read messages, milliseconds."""

MAX_ANSWER_RECORD_BYTES = 8 * 1024 * 1024
"""Records in one answer, bytes: half of the largest gRPC message, so that everything else fits beside them."""

READ_TOGETHER_BYTES = 128 * 1024 * 1024
"""Sealed records, bytes in memory, of the segments that are read together for one answer: about one segment that was filled by its bytes.
Of records of a mebibyte each a thousand would be in memory otherwise, for an answer that holds eight."""

MAX_DETAIL_BYTES = 3 * 1024 * 1024
"""Each of the lists of one pattern in depth, bytes: its members, its variables, its records."""

DEFAULT_DEADLINE_S = 30.0
"""Time of a call that comes without a deadline, seconds: nobody waits longer for a search."""

EMBED_TIMEOUT_S = 5.0
"""How long a search waits for the embed service when it does not wait for a position, seconds; then it answers with literals and words."""

MAX_PAGE_PATTERNS = 10_000
"""Patterns of one page."""

MAX_SPARKLINE_PARTS = 240
"""Parts of time in a sparkline of a list: more than a column of a screen shows."""

MAX_DETAIL_PARTS = 1_000
"""Parts of time of one pattern in depth: a wide screen's worth of points."""

MAX_VARIABLE_RECORDS = 10_000
"""Records, the newest ones, from which the values of a pattern's variables are read: 20 ms of matching."""

MAX_PATTERN_VARIABLES = 64
"""Variables of one pattern that are read, from the left: a message with more is data, not a sentence."""

MAX_VARIABLE_VALUES = 1_000
"""Values of one variable in an answer."""

MAX_LISTED_MEMBERS = 1_000
"""Patterns of a template in an answer."""

MAX_LISTED_SERVICES = 100
"""Services that are named of one template."""

MAX_TEMPLATE_PATTERNS = 200_000
"""Patterns that are joined into templates, expired ones of living templates included: one second of work and 100 MB. Each one beyond is a
template by itself."""

TEMPLATE_PAUSE_S = 1.0
"""Least time between two passes that join patterns into templates, seconds: patterns that come together are joined together."""

RELEASE_AFTER_PATTERNS = 10_000
"""Patterns of one pass after which freed memory is given back: tens of MiB after so many, little after a few."""

DAMAGE_SEARCH_S = 10.0
"""Longest search for a damaged segment after a question failed, seconds: some 10 GB of files. `treering store verify` reads all."""

RETURN_PATIENCE_S = 10.0
"""How long the log may deliver nothing of what was visible before a restart, seconds; then questions are answered without it. Ingest begins
within a second if it is there."""

MAX_SHOWN_LOGS = 128
"""Logs whose visible end is noted for the time after a restart; of more, answers soon after it may lack the newest records."""

MAX_BACKLOG_RECORDS = 10_000
"""Records that a tail may begin with."""

MAX_TAIL_BEHIND_RECORDS = 10_000
"""Records that a tail may lag behind before the oldest of them are skipped: a slow reader wants what is new."""

TAIL_MESSAGE_RECORDS = 1_000
"""Records in one message of a tail."""

TAIL_HEARTBEAT_S = 10.0
"""Longest silence of a tail, seconds."""

TAIL_PAUSE_S = 0.2
"""Shortest pause between two looks at the store, for all tails or all watches, seconds: many small deliveries become one query."""

TAIL_SHARED_BYTES = 16 * 1024 * 1024
"""Records that are kept for all tails together, bytes: who reads more slowly has its records read again for each message."""

MAX_CONTEXT_RECORDS = 1_000
"""Neighbours on each side of a record."""

DEFAULT_CONTEXT_RECORDS = 10
"""Neighbours on each side of a record when the caller does not say."""

DEFAULT_LIST_RECORDS = 100
"""Records of one page of a list when the request does not say."""

MAX_LIST_RECORDS = 10_000
"""Records of one page of a list: more than a screen holds, and a second's work for whoever draws them."""

MAX_LIST_MESSAGE_BYTES = 1024 * 1024
"""Largest length at which the messages of a list can be cut, bytes: that of the largest record."""

DEFAULT_LIST_FIELDS = 1_000
"""Fields of one page when the request does not say: nearly always all there are."""

MAX_LIST_FIELDS = 10_000
"""Fields of one page."""

MAX_VALUE_FIELDS = 20
"""Fields whose values are listed in one call: each is a pass over its column."""

DEFAULT_FIELD_VALUES = 10
"""Values of a field when the request does not say."""

MAX_FIELD_VALUES = 1_000
"""Most values of a field: more is a matter for AggregateLogs."""

MAX_VALUES_BUDGET_MS = 60_000
"""Longest time for which values may be read, milliseconds; without a budget the call's deadline is the limit."""

MAX_DIGEST_OFFSETS = 262_144
"""Offsets that one call digests: about a second of work, so that a caller sees progress and a deadline holds."""

MAX_DIGEST_RUNS = 4_096
"""Runs in one answer about digests."""

EXPORT_PATIENCE_S = 30.0
"""How long an export waits for its turn, seconds, before it is told to come back: those that run may take hours."""

EXPORT_MEMORY_BYTES = 512 * 1024 * 1024
"""Most memory of the database for all exports together, bytes: about 8 MiB an export, more where records are long."""

ZYGOTE_START_S = 60.0
"""How long the process that forks SQL queries may take to start, seconds: half a second on an idle machine."""
