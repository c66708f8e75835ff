"""Values that are named by a key: JSON members, logfmt pairs, `key=value` anywhere in a sentence.

A value is data, unless its key says that it is wording: then it is read like the rest of the message. An empty value is a value too:
`user=` and `user=ann` are one pattern.
"""

import re
from string import ascii_lowercase, ascii_uppercase

from treering_runtime.patterns.mask import END_OF_CLAUSE, MASK

WORDING_KEYS = frozenset(
    {
        *(
            "action",
            "cause",
            "code",
            "description",
            "detail",
            "details",
            "err",
            "error",
            "event",
            "exc",
            "exception",
            "kind",
            "level",
            "log",
        ),
        *(
            "lvl",
            "message",
            "method",
            "msg",
            "op",
            "operation",
            "outcome",
            "phase",
            "reason",
            "result",
            "severity",
            "stage",
            "state",
            "status",
        ),
        *("summary", "title", "type"),
    }
)
"""Keys, in lower case, whose value is wording: people group and search by it."""

_NO_WORDING_ENDINGS = frozenset({"code", "kind", "log", "op", "title", "type"})
"""Words of `WORDING_KEYS` that name data at the end of a longer key (`country_code`), unlike `error_message` or `newState`."""

# Possessive quantifiers throughout: a quote that is never closed must not make the match take quadratic time.
_JSON_MEMBER = re.compile(r'"([^"\\]*+)"[ \t]*+:[ \t]*+("(?:[^"\\]|\\.?)*+"?|[^ \t\n\r",:\[\]{}]++)', re.DOTALL)
_PYTHON_MEMBER = re.compile(
    r"(?<=[{,])([ \t]*+)'([^'\\]*+)':([ \t]++)('(?:[^'\\]|\\.)*+'|[^ \t\n\r',:\[\]{}]++)(?=[ \t]*+(?:[,}\n]|$))", re.DOTALL
)
_QUOTED_PAIR = re.compile(r"""(?<![^\s,;|(\[{])([A-Za-z_@][\w.:/-]*+)=("(?:[^"\\]|\\.)*+"|'[^']*+')""", re.DOTALL)
_PAIR = re.compile(r"(?<![^\"'(){}\[\]<,;|&?])([A-Za-z_@][\w.:/-]*+)=(?![=~>\"'({\[]|<(?!\*>))((?:<\*>|[^\"'(){}\[\]<>,;|])*+)")


def mask_members(text: str) -> str:
    """Masks values of members (of JSON, of Python's dict) and of `key="quoted value"`; only a text that holds a quote is worth the call."""
    # The cheapest test first: most texts hold none of these, and a search for a character costs less than a regular expression.
    if '"' in text:
        text = _JSON_MEMBER.sub(_member, text)
    if "':" in text:
        text = _PYTHON_MEMBER.sub(_python_member, text)
    return _QUOTED_PAIR.sub(_quoted_pair, text) if "=" in text else text


def mask_pairs(token: str) -> str:
    """Masks the value of each `key=value` in a token free of white space."""
    return _PAIR.sub(_pair, token)


def _is_wording(key: str) -> bool:
    # `http.status` is judged by `status`: a prefix says where a field comes from, not what it is.
    name = key.rpartition(".")[2]
    if name.lower() in WORDING_KEYS:
        return True
    ending = _last_word(name).lower()
    return ending in WORDING_KEYS and ending not in _NO_WORDING_ENDINGS


def _last_word(name: str) -> str:
    """`msg` of `err_msg` and of `ERR_MSG`, `Message` of `errorMessage`."""
    before = name.rstrip(ascii_lowercase)
    if len(before) == len(name):
        return name[len(name.rstrip(ascii_uppercase)) :]
    return name[len(before) - before[-1:].isupper() :]


def _member(match: re.Match[str]) -> str:
    key, value = match.groups()
    if _is_wording(key):
        return match[0]
    before = match[0][: match.start(2) - match.start()]
    return f'{before}"{MASK}"' if value.startswith('"') else before + MASK


def _python_member(match: re.Match[str]) -> str:
    before, key, space, value = match.groups()
    if _is_wording(key):
        return match[0]
    quote = "'" if value.startswith("'") else ""
    return f"{before}'{key}':{space}{quote}{MASK}{quote}"


def _quoted_pair(match: re.Match[str]) -> str:
    return match[0] if _is_wording(match[1]) else f"{match[1]}={MASK}"


def _pair(match: re.Match[str]) -> str:
    key, value = match.groups()
    # A mask in a value of wording means that the first pass found a digit there: then the value is data after all.
    if _is_wording(key) and MASK not in value:
        return match[0]
    # A full stop or comma that ends the sentence belongs to the sentence; without this there were two patterns for one wording.
    return f"{key}={MASK}{value[len(value.rstrip(END_OF_CLAUSE)) :]}"
