"""Single tokens that are data by their form, without holding a digit: paths, addresses, hosts, hex, booleans, quoted words."""

import re
from functools import lru_cache

from treering_runtime.patterns.fields import mask_pairs
from treering_runtime.patterns.mask import END_OF_CLAUSE, MASK, SEPARATORS, UNSPACED

_CACHE_ENTRIES = 32_768
"""Distinct tokens: words are few and repeat even where no message does."""

LITERALS = frozenset({"true", "false", "True", "False", "TRUE", "FALSE", "null", "NULL", "nil", "None", "undefined", "NaN"})
"""What a variable prints when it is a boolean or holds nothing."""

_EMPTY_VALUE = "()"
_PART = re.compile(rf"[^{SEPARATORS}{UNSPACED}]++")
_QUOTED_WORD = re.compile(r"""(?<![^\s(\[{,=])(?:"[^"\s]++"|'[^'\s]++'|`[^`\s]++`)(?![\w:])""")
_URL = re.compile(rf"(?<![^{SEPARATORS}])(?:[A-Za-z][\w+.-]*+://|/[^{SEPARATORS}?]*+\?)(?:<\*>|[^{SEPARATORS}]|=)++")
_MASK_WITH_TAIL = re.compile(rf"<?<\*>(?:[=&?/\\:@#+~.*-]++(?:<\*>|[^\s\"'(){{}}\[\]<>,;|{UNSPACED}])++|={{1,2}}$)")
_LOCAL = "localhost:<*>"
_LOCAL_PORT = re.compile(r"(?<![A-Za-z_])localhost:<\*>")
_HOST = re.compile(r"(?:[a-z0-9_-]+\.)+(?:com|net|org|edu|gov|mil|local|internal|lan|localdomain)|(?:[a-z0-9_-]+\.){2,}[a-z]{2}")
_HEX = re.compile(r"[a-f]{8,}|[A-F]{8,}|[0-9a-fA-F]{2}(?:[:-][0-9a-fA-F]{2}){5}")
_WINDOWS_PATH = re.compile(r"[A-Za-z]:\\|\\\\|[^\\]*\\[^\\]+\\|[\w.-]{2,}\\(?![nrt])\w")


def mask_token(token: str) -> str:
    """Masks one token free of white space, of an already coarsely masked text."""
    # Most tokens are plain words: they skip all expressions below.
    if token.isalpha() and token.isascii():
        return MASK if _is_variable_word(token) else token
    # An empty list is a value like a filled one: `()` and `(3)` are one pattern.
    if token == _EMPTY_VALUE:
        return f"({MASK})"
    # Quotes and addresses before pairs: a `=` inside of a URL is no pair.
    token = _URL.sub(_with_tail, _QUOTED_WORD.sub(_quoted, token))
    if "=" in token:
        token = mask_pairs(token)
    if _LOCAL in token:
        token = _LOCAL_PORT.sub(MASK, token)
    token = _MASK_WITH_TAIL.sub(_with_tail, token)
    return _PART.sub(_part, token)


mask_token_cached = lru_cache(_CACHE_ENTRIES)(mask_token)
"""The same for short tokens, remembered: the caller sees to it that no long token fills the cache."""


def _quoted(match: re.Match[str]) -> str:
    quote = match[0][0]
    return f"{quote}{MASK}{quote}"


def _with_tail(match: re.Match[str]) -> str:
    return MASK + _tail(match[0])


def _part(match: re.Match[str]) -> str:
    # The punctuation that ends the clause stays outside, as in the first pass.
    tail = _tail(match[0])
    body = match[0].removesuffix(tail)
    if _is_variable(body):
        return MASK + tail
    # A label stays in front of a literal, as in front of a number: `ok:true` and `ok:1` are one pattern.
    label, colon, word = body.rpartition(":")
    return f"{label}:{MASK}{tail}" if colon and word in LITERALS and label[-1:].isalnum() else match[0]


def _tail(text: str) -> str:
    return text[len(text.rstrip(END_OF_CLAUSE)) :]


def _is_variable(part: str) -> bool:
    if part.isalpha():
        return _is_variable_word(part)
    return _is_path(part) or _is_address(part) or _HEX.fullmatch(part) is not None


def _is_variable_word(word: str) -> bool:
    return word in LITERALS or (len(word) >= 8 and _HEX.fullmatch(word) is not None)


def _is_path(part: str) -> bool:
    # Two slashes, or one that begins it: `and/or` stays wording.
    if "/" in part:
        return part.count("/") >= 2 or (part[0] == "/" and len(part) > 1) or "." in part or "~" in part
    return "\\" in part and _WINDOWS_PATH.match(part) is not None


def _is_address(part: str) -> bool:
    return "." in part and ("@" in part or _HOST.fullmatch(part) is not None)
