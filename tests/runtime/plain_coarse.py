"""The coarse pass of masking as its rules say it, one character at a time: no regular expression, no columns.

A rule is a function `(text, at)` that says what it finds at a place, as the place where that ends and what stands in its stead, or `None`;
`replaced` asks it at every place.
"""

import itertools
from collections.abc import Callable
from string import ascii_letters
from typing import Any

from treering_runtime.limits import MAX_PATTERN_TEXT_CHARACTERS

MASK = "<*>"
SEPARATORS = set(" \t\n\r\f\v\"'(){}[]<>,;=|")
LABEL_LETTERS = set(ascii_letters + "_")
END_OF_CLAUSE = ".:!?"
UNSPACED = [
    ("\u0e00", "\u0eff"),
    ("\u1000", "\u109f"),
    ("\u1780", "\u17ff"),
    ("\u2e80", "\u9fff"),
    ("\uac00", "\ud7af"),
    ("\uf900", "\ufaff"),
    ("\uff00", "\uffef"),
]


def coarse_twin(message: str) -> str:
    """Cuts, takes out colours, and masks each token that holds an ASCII digit."""
    return of_parts(without_colours(cut_twin(message)), token_with_digit)


def of_parts(text: str, change: Callable[[Any], Any]) -> str:
    """The text with `change` made to each stretch between separators and letters that are written without spaces."""
    pieces, token = [], ""
    for character in [*text, None]:
        if character is None or ends_token(character):
            pieces += [change(token), character or ""]
            token = ""
        else:
            token += character
    return "".join(pieces)


def ends_token(character: Any) -> bool:
    return character in SEPARATORS or is_unspaced(character)


def is_unspaced(character: Any) -> bool:
    return any(first <= character <= last for first, last in UNSPACED)


def cut_twin(message: Any) -> Any:
    head = message[:MAX_PATTERN_TEXT_CHARACTERS]
    if len(message) == len(head):
        return message
    cut = len(head)
    while cut and not ends_token(head[cut - 1]):
        cut -= 1
    return head[:cut] if cut else head


def without_colours(text: Any) -> str:
    return replaced(text, colour)


def colour(text: str, at: Any) -> tuple[Any, str] | None:
    end = at + 2
    if not text.startswith("\x1b[", at):
        return None
    while "0" <= text[end : end + 1] <= "?":
        end += 1
    while " " <= text[end : end + 1] <= "/":
        end += 1
    return (end + 1, "") if "@" <= text[end : end + 1] <= "~" else None


def token_with_digit(token: str) -> str:
    """Masks from behind the labels, or from the first digit where there is nothing else, to the end of the clause."""
    if not any("0" <= character <= "9" for character in token):
        return token
    start = 0
    while True:
        word = "".join(itertools.takewhile(LABEL_LETTERS.__contains__, token[start:]))
        rest = token[start + len(word) :]
        if not rest.startswith(":") or is_value(word, rest):
            break
        start += len(word) + 1
    return token[:start] + MASK + tail(token[start:])


def is_value(word: str, rest: str) -> bool:
    """Whether a word before a colon is no label: it may be hexadecimal, or begins an address or a path."""
    return word != "" and (set(word.lower()) <= set("abcdef") or rest[1:2] in {"/", "\\"})


def tail(text: str) -> Any:
    """The punctuation that ends a clause at the end of a text."""
    return text[len(text.rstrip(END_OF_CLAUSE)) :]


def replaced(text: str, rule: Callable[[Any, Any], Any]) -> str:
    kept, at = [], 0
    while at < len(text):
        end, new = rule(text, at) or (at + 1, text[at])
        kept.append(new)
        at = end
    return "".join(kept)
