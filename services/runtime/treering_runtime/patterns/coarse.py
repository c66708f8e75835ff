"""The first pass: tokens that hold a digit, over all messages of a batch at once."""

from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from treering_runtime.limits import MAX_PATTERN_TEXT_CHARACTERS
from treering_runtime.patterns.mask import MASK, SEPARATORS, UNSPACED

_Messages = TypeVar("_Messages", pa.StringArray, pa.ChunkedArray)


def _digit_rule(ends: str) -> str:
    """The rule for a token that holds a digit, where `ends` (characters of a class) end a token."""
    other = rf"[A-Za-z_]*[^{ends}:A-Za-z_0-9][^{ends}]*"
    hex_word = rf"\b[A-Fa-f]+:[^{ends}]*"
    scheme = rf"\b[A-Za-z_]+:[/\\][^{ends}]*"
    return rf"(?:{other}|{hex_word}|{scheme}|[A-Za-z_]*)[0-9](?:[^{ends}]*[^{ends}.:!?])?"


COARSE_RULE = _digit_rule(SEPARATORS + UNSPACED)
"""A token that holds a digit, without labels (`count:`) and colons before it and the punctuation after it. Signs belong to it, so -5 and 5
are one.

A label is a word of letters and `_` before a colon; it is none if it may be hexadecimal (`fa:16:3e:..`) or begins an address (`http://..`).
"""

ASCII_RULE = _digit_rule(SEPARATORS)
"""The same for texts in ASCII, a fifth faster."""

COLOUR_RULE = r"\x1b\[[0-?]*[ -/]*[@-~]"
"""A control sequence of terminals (ECMA-48): colours around a word are no part of it."""

CUT_TOKEN_RULE = rf"([{SEPARATORS}{UNSPACED}])[^{SEPARATORS}{UNSPACED}]+$"
"""The token at the end of a message that was cut: where the cut fell inside it says nothing."""


def mask_coarse(messages: pa.StringArray) -> pa.DictionaryArray:
    """The coarsely masked messages, cut at `MAX_PATTERN_TEXT_CHARACTERS` first, as a dictionary of the distinct ones."""
    # Cut before masking: the regular expression is linear, but a message of megabytes would still hold everybody up.
    if (pc.max(pc.binary_length(messages)).as_py() or 0) > MAX_PATTERN_TEXT_CHARACTERS:
        messages = _cut(messages)
    if pc.all(pc.ascii_is_printable(messages)).as_py():
        return _masked(messages, ASCII_RULE)
    # Colours first: in `\x1b[31m5` the control sequence would otherwise become part of the token with the digit.
    messages = without_colours(messages)
    return _masked(messages, ASCII_RULE if pc.all(pc.string_is_ascii(messages)).as_py() else COARSE_RULE)


def without_colours(messages: _Messages) -> _Messages:
    """The messages without the control sequences of terminals, as masking reads them."""
    # A search for the first bytes of a sequence costs far less than the replacement, and most batches have none.
    if not pc.any(pc.match_substring(messages, "\x1b[")).as_py():
        return messages
    return pc.replace_substring_regex(messages, pattern=COLOUR_RULE, replacement="")


def _masked(messages: pa.StringArray, rule: str) -> pa.DictionaryArray:
    return pc.replace_substring_regex(messages, pattern=rule, replacement=MASK).dictionary_encode()


def _cut(messages: pa.StringArray) -> pa.StringArray:
    heads = pc.utf8_slice_codeunits(messages, 0, MAX_PATTERN_TEXT_CHARACTERS)
    whole = pc.replace_substring_regex(heads, pattern=CUT_TOKEN_RULE, replacement=r"\1")
    # Only messages that were really cut lose their last token: at the limit itself the last token is whole.
    return pc.if_else(pc.greater(pc.utf8_length(messages), MAX_PATTERN_TEXT_CHARACTERS), whole, heads)
