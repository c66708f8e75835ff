"""The first pass: tokens that hold a digit, over all messages of a batch at once."""

import pyarrow as pa
import pyarrow.compute as pc

from treering_runtime.limits import MAX_PATTERN_TEXT_CHARACTERS
from treering_runtime.patterns.mask import MASK, SEPARATORS

COARSE_RULE = rf"(?:[^{SEPARATORS}:][^{SEPARATORS}]*)?[0-9](?:[^{SEPARATORS}]*[^{SEPARATORS}.:!?])?"
"""A token that holds a digit, without a colon before it and the punctuation after it. Signs belong to it, so -5 and 5 are one."""

CUT_TOKEN_RULE = rf"([{SEPARATORS}])[^{SEPARATORS}]+$"
"""The token at the end of a message that was cut: where the cut fell inside it says nothing."""


def mask_coarse(messages: pa.StringArray) -> pa.DictionaryArray:
    """The coarsely masked messages, cut at `MAX_PATTERN_TEXT_CHARACTERS` first, as a dictionary of the distinct ones."""
    if (pc.max(pc.binary_length(messages)).as_py() or 0) > MAX_PATTERN_TEXT_CHARACTERS:
        messages = _cut(messages)
    return pc.replace_substring_regex(messages, pattern=COARSE_RULE, replacement=MASK).dictionary_encode()


def _cut(messages: pa.StringArray) -> pa.StringArray:
    heads = pc.utf8_slice_codeunits(messages, 0, MAX_PATTERN_TEXT_CHARACTERS)
    whole = pc.replace_substring_regex(heads, pattern=CUT_TOKEN_RULE, replacement=r"\1")
    return pc.if_else(pc.greater(pc.utf8_length(messages), MAX_PATTERN_TEXT_CHARACTERS), whole, heads)
