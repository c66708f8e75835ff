"""Patterns: what stays of a message when its variable parts are masked, and the id of that.

Masking is a pure function of the message, in every process and after every restart. It runs in two passes:

- *coarse* (`coarse`), over every record of a batch, by Arrow's RE2 in linear time: each token that holds a digit becomes `<*>`,
  but its label (`took:`); colours are left out;
- *fine* (`fine`), over the distinct results of the first pass only, in Python and cached: fields by key (`fields`), single tokens
  (`tokens`), and phrases around masks such as dates, quantities and lists (`phrases`).

The rules say what is true of logs in general, not of some system: digits, paths, addresses, values of `key=value` and of JSON members,
a quoted single word, a boolean are data; the words between them are the wording that people and the model read. Words are masked only
where the form says that they are data: what else varies is found later, by comparing patterns.

Each kind, that is service and masked message, has an id (`ids`): a hash of both that nobody can aim at, compared where it is held.
"""

from treering_runtime.pattern_id import NO_PATTERN, pattern_id
from treering_runtime.patterns.batch import PatternColumns, find_patterns
from treering_runtime.patterns.coarse import without_colours
from treering_runtime.patterns.ids import PatternIds, former_pattern_id, places_among
from treering_runtime.patterns.mask import MASK, MASK_VERSION, RULES_VERSION, SAME_RULES

__all__ = [
    "MASK",
    "MASK_VERSION",
    "NO_PATTERN",
    "RULES_VERSION",
    "SAME_RULES",
    "PatternColumns",
    "PatternIds",
    "find_patterns",
    "former_pattern_id",
    "pattern_id",
    "places_among",
    "without_colours",
]
