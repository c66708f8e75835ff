"""How many distinct values a position must show before it counts as data.

Wording that varies (`VM Started`, `VM Stopped`) looks the same as data that varies (`user ann`, `user bob`); joining the first hides
meaning, missing the second only shows a list. So the number depends on how much else says "name".
"""

from collections.abc import Collection

from treering_runtime.patterns import MASK

VALUES_AFTER_LABEL = 3
"""After a noun that announces a name: `user ann`, `host web`."""

VALUES_LIKE_NAMES = 5
"""After a preposition, or where most values have the form of an identifier (`a.b`, `a_b`, `aB`, partly masked)."""

VALUES_OF_WORDS = 8
"""Plain words at any other place."""

VALUES_OF_WORDING = 16
"""At the start, where the subject stands, or where a quarter of the values are states: enumerations seldom have more."""

_LEAST_CONSTANT_WORDS = 2
_FRAME = ".,:;!?()[]{}\"'`"

_LABELS = frozenset(
    {
        *(
            "account",
            "app",
            "application",
            "bucket",
            "class",
            "client",
            "column",
            "container",
            "customer",
            "database",
            "device",
            "directory",
        ),
        *("disk", "domain", "file", "group", "host", "hostname", "image", "index", "interface", "job", "key", "module", "node", "package"),
        *("plugin", "pod", "process", "program", "queue", "role", "server", "service", "session", "table", "task", "tenant", "thread"),
        *("topic", "user", "username", "users", "volume"),
    }
)
_PREPOSITIONS = frozenset({"as", "at", "by", "called", "for", "from", "in", "into", "named", "of", "on", "to", "using", "via", "with"})
_STATES = frozenset(
    {
        *(
            "a",
            "active",
            "an",
            "and",
            "are",
            "at",
            "available",
            "be",
            "been",
            "busy",
            "by",
            "close",
            "disabled",
            "down",
            "enabled",
            "error",
        ),
        *(
            "failure",
            "for",
            "from",
            "had",
            "has",
            "have",
            "idle",
            "in",
            "inactive",
            "is",
            "missing",
            "new",
            "no",
            "none",
            "not",
            "of",
            "off",
        ),
        *("offline", "ok", "old", "on", "online", "open", "or", "ready", "start", "stop", "success", "the", "timeout", "to", "unavailable"),
        *("unknown", "up", "warning", "was", "were", "with"),
    }
)


def values_needed(tokens: list[str], position: int, values: Collection[str]) -> float:
    """The least number of distinct values that opens `position` of a text with these tokens; infinite if nothing would.

    `values` are what the texts that agree elsewhere have there; `tokens` is any one of these texts.
    """
    # Too little that is constant: everything would fit, and the template would say nothing.
    constant = sum(any(map(str.isalpha, token)) for place, token in enumerate(tokens) if place != position)
    if constant < _LEAST_CONSTANT_WORDS:
        return float("inf")
    # A mask says nothing about the form of the others.
    words = [value for value in values if value != MASK]
    if position == 0 or 4 * sum(map(_is_state, words)) > len(words):
        return VALUES_OF_WORDING
    # Position 0 has returned above, so this is the token in front and not the last one.
    before = tokens[position - 1].strip(_FRAME).lower()
    # The strongest sign first.
    if before in _LABELS:
        return VALUES_AFTER_LABEL
    names = before in _PREPOSITIONS or 2 * sum(map(_is_identifier, words)) > len(words)
    return VALUES_LIKE_NAMES if names else VALUES_OF_WORDS


def _is_state(value: str) -> bool:
    word = value.strip(_FRAME)
    if not word.isalpha():
        return False
    # Participles and capitals are states in logs: "failed", "stopped", "READY".
    return word.lower() in _STATES or (len(word) > 1 and word.isupper()) or (len(word) > 4 and word.lower().endswith(("ed", "ing")))


def _is_identifier(value: str) -> bool:
    word = value.strip(_FRAME)
    # A digit, a dot, a mask or a capital inside.
    return not word.isalpha() or word[1:] != word[1:].lower()
