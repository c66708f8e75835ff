"""What of a query can be looked up letter by letter."""

import re
from dataclasses import dataclass

SHORT_QUERY_WORDS = 4
"""Up to so many words are worth reading messages for: people paste short pieces of a message, and describe in longer sentences."""

MAX_IDENTIFIERS = 16
"""Identifiers of one query that are looked up; a longer paste is found verbatim or by meaning."""

_QUOTED = re.compile(r'"([^"]+)"')
# What people rarely type in a sentence, and machines put into names.
_MARKED = re.compile(r"[0-9_/\\$@=]|::|\w\.\w|[a-z][A-Z]")
# Punctuation of the sentence around a name, and no part of it.
_EDGES = ".,;:!?()[]{}<>'\"`"


@dataclass(frozen=True)
class Literals:
    """The literals of a query.

    `whole` is the query without white space around it; `identifiers` are the tokens that look like names that a machine made, and
    what stands in double quotes; `read_messages` says whether they are worth reading messages for.
    """

    whole: str
    identifiers: tuple[str, ...]
    read_messages: bool


def find_literals(text: str) -> Literals:
    r"""The literals of a query.

    A token is an identifier when it holds a digit, one of `_ / \ $ @ =`, `::`, a dot inside, or a capital after a small letter.
    """
    whole = text.strip()
    quoted = [part.strip() for part in _QUOTED.findall(whole) if part.strip()]
    # A token of nothing but punctuation stays as it is; `_is_identifier` refuses it.
    tokens = (token.strip(_EDGES) or token for token in _QUOTED.sub(" ", whole).split())
    # Quoted ones first: when there are too many, what was asked for by hand is kept.
    identifiers = tuple(dict.fromkeys([*quoted, *filter(_is_identifier, tokens)]))[:MAX_IDENTIFIERS]
    return Literals(whole, identifiers, bool(identifiers) or len(whole.split()) <= SHORT_QUERY_WORDS)


def _is_identifier(token: str) -> bool:
    return bool(_MARKED.search(token)) and any(character.isalnum() for character in token)
