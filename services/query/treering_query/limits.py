"""Limits of the query service, each with its unit and its reason. What an operator may want to change is in `settings`."""

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
"""Length of `message_contains` in characters."""

MAX_ATTRIBUTE_KEY_BYTES = 256
"""Length of an attribute's key in bytes where it is grouped by or computed from."""

MAX_TIME_UNIX_NANO = 2**63 - 1
"""Latest time a record can have, nanoseconds since 1970: 2262-04-11."""

TRACE_ID_BYTES = 16
"""Length of a trace id in bytes."""
