"""Masking as its rules say it, one character at a time: no regular expression, no shortcut, no cache.

`plain_pattern` is what the two passes of `treering_runtime.patterns` make of one message. The fine pass asks one rule after another
(`plain_coarse.replaced`) at every place of the text; no rule looks ahead whether it is worth asking.
"""

import itertools
from collections.abc import Callable
from string import ascii_letters, ascii_lowercase, ascii_uppercase, hexdigits
from typing import Any

from tests.runtime.plain_coarse import LABEL_LETTERS, MASK, SEPARATORS, coarse_twin, is_unspaced, of_parts, replaced, tail


def words(text: str) -> set[Any]:
    return set(text.split())


KEY_STARTS = LABEL_LETTERS | {"@"}
WORDING_ENDINGS = words(
    "action cause description detail details err error event exc exception level lvl message method msg operation outcome phase reason"
    " result severity stage state status summary"
)
WORDING_KEYS = WORDING_ENDINGS | words("code kind log op title type")
LITERALS = words("true false True False TRUE FALSE null NULL nil None undefined NaN")
TOP_DOMAINS = words("com net org edu gov mil local internal lan localdomain")
LONG_DAYS = words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
DAYS = [day + gap for long in LONG_DAYS for day in (long[:3], long) for gap in (" ", ", ")]
LONG_MONTHS = words("January February March April May June July August September October November December")
MONTHS = LONG_MONTHS | {month[:3] for month in LONG_MONTHS} | {"Sept"}
SIZES = {
    multiple + binary + base + rate
    for multiple, binary in itertools.product("KMGTPkmgtp", ("", "i"))
    for base in words("B b Byte byte Bytes bytes Bit bit Bits bits Bps bps")
    for rate in ("", "/s", "/sec")
}
UNITS = SIZES | words(
    "byte bytes Byte Bytes bit bits Bit Bits B MILLISECONDS SECONDS MINUTES HOURS DAYS s ns us ms µs sec secs second seconds"
    " millisec millisecs millisecond milliseconds microsec microsecs microsecond microseconds nanosec nanosecs nanosecond nanoseconds"
    " min mins minute minutes h hr hrs hour hours day days % percent Hz KHz MHz GHz rpm V A W C"
)
ZONES = words("GMT UTC EST EDT CST CDT MST MDT PST PDT CET CEST AM PM am pm a.m. p.m.")
UNITS_AND_ZONES = UNITS | ZONES
CONNECTORS = [" ", *(before + mark + after for mark in ",;:|/-" for before in ("", " ") for after in ("", " "))]


def plain_pattern(message: str) -> str:
    return fine_twin(coarse_twin(message))


def fine_twin(coarse: str) -> str:
    """Fields by key, then each token by its form, then what stands around masks; white space becomes single spaces."""
    for rule in (json_member, python_member, quoted_pair):
        coarse = replaced(coarse, rule)
    text = " ".join(masked_token(token) for token in coarse.split())
    for rule in (date, in_angles, after_less_than, list_or_quantity, with_brackets):
        text = replaced(text, rule)
    return text


def run(text: str, at: Any, belongs: Callable[[Any], Any | bool]) -> Any:
    """Where the masks and the characters that belong end."""
    while at < len(text) and (text.startswith(MASK, at) or belongs(text[at])):
        at += len(MASK) if text.startswith(MASK, at) else 1
    return at


def is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


# Fields by key.


def is_wording(key: str) -> bool:
    name = key.rsplit(".", maxsplit=1)[-1]
    return name.lower() in WORDING_KEYS or last_word(name).lower() in WORDING_ENDINGS


def last_word(name: Any) -> Any:
    """Small letters with the capital before them, or capitals: the last word of snake_case, camelCase and CAPITALS."""
    small = run_back(name, ascii_lowercase)
    if small == len(name):
        return name[run_back(name, ascii_uppercase) :]
    return name[small - 1 :] if small and name[small - 1].isupper() else name[small:]


def run_back(name: Any, letters: str) -> int:
    at = len(name)
    while at and name[at - 1] in letters:
        at -= 1
    return at


def string_end(text: str, at: Any) -> tuple[Any, Any]:
    """Where the string that begins at a quote ends, and whether it is closed; a backslash takes the next character with it."""
    quote, at = text[at], at + 1
    while at < len(text) and text[at] != quote:
        at += 2 if text[at] == "\\" else 1
    return min(at + 1, len(text)), at < len(text)


def key_in_quotes(text: str, at: Any, quote: str) -> tuple[None, Any] | tuple[Any, Any]:
    """The key that begins with the quote and is followed by another, and the place behind; a key has no escapes."""
    end = text.find(quote, at + 1)
    if text[at : at + 1] != quote or end < 0 or "\\" in text[at:end]:
        return None, at
    return text[at + 1 : end], end + 1


def json_member(text: str, at: Any) -> tuple[Any, Any] | None:
    """`"key": "value"`, also one that the end of the text cuts off, and `"key": value`; not a list or another object."""
    key, end = key_in_quotes(text, at, '"')
    colon = run_of_blanks(text, end)
    if key is None or text[colon : colon + 1] != ":":
        return None
    start = run_of_blanks(text, colon + 1)
    quoted = text.startswith('"', start)
    end = string_end(text, start)[0] if quoted else bare_value_end(text, start, '"')
    if end == start:
        return None
    return end, text[at:end] if is_wording(key) else text[at:start] + (f'"{MASK}"' if quoted else MASK)


def python_member(text: str, at: Any) -> tuple[Any, Any] | None:
    """`'key': 'value'` and `'key': value` behind a brace or a comma, with what follows a member behind it."""
    start = run_of_blanks(text, at)
    key, colon = key_in_quotes(text, start, "'")
    start = run_of_blanks(text, colon + 1)
    if text[at - 1 : at] not in {"{", ","} or key is None or text[colon : colon + 1] != ":" or start == colon + 1:
        return None
    quoted = text.startswith("'", start)
    end, closed = string_end(text, start) if quoted else (bare_value_end(text, start, "'"), True)
    follows = run_of_blanks(text, end)
    if end == start or not closed or text[follows : follows + 1] not in {"", ",", "}", "\n"}:
        return None
    return end, text[at:end] if is_wording(key) else text[at:start] + (f"'{MASK}'" if quoted else MASK)


def run_of_blanks(text: str, at: Any) -> Any:
    while text[at : at + 1] in {" ", "\t"}:
        at += 1
    return at


def bare_value_end(text: str, at: Any, quote: str) -> Any:
    while at < len(text) and text[at] not in {*" \t\n\r,:[]{}", quote}:
        at += 1
    return at


def quoted_pair(text: str, at: Any) -> tuple[Any, Any] | None:
    """`key="a value"` and `key='a value'` at the start of a word; only the former has escapes."""
    equals = key_end(text, at)
    if equals is None or (at and not text[at - 1].isspace() and text[at - 1] not in ",;|([{"):
        return None
    if text.startswith('"', equals + 1):
        end, closed = string_end(text, equals + 1)
    else:
        end = text.find("'", equals + 2) + 1
        closed = text.startswith("'", equals + 1) and end > 0
    if not closed:
        return None
    return end, text[at:end] if is_wording(text[at:equals]) else text[at : equals + 1] + MASK


def key_end(text: str, at: Any) -> Any | None:
    """The place of the `=` behind a key that begins here."""
    if text[at] not in KEY_STARTS:
        return None
    at += 1
    while is_word(text[at : at + 1]) or text[at : at + 1] in {*".:/-"}:
        at += 1
    return at if text.startswith("=", at) else None


def pair(token: str, at: Any) -> tuple[Any, Any] | None:
    """`key=value`; neither a comparison nor an opening quote or bracket is a value, and a value that holds a mask is no wording."""
    equals = key_end(token, at)
    if equals is None or (at and token[at - 1] not in "\"'(){}[]<,;|&?"):
        return None
    value = token[equals + 1 :]
    if not value.startswith(MASK) and value[:1] in {*"=~><\"'({["}:
        return None
    end = run(token, equals + 1, lambda character: character not in "\"'(){}[]<>,;|")
    value = token[equals + 1 : end]
    if is_wording(token[at:equals]) and MASK not in value:
        return end, token[at:end]
    return end, token[at : equals + 1] + MASK + tail(value)


# Tokens by their form.


def masked_token(token: str) -> str:
    if token == "()":
        return f"({MASK})"
    for rule in (quoted_word, url, pair, local_port, mask_with_more):
        token = replaced(token, rule)
    return of_parts(token, masked_part)


def quoted_word(token: str, at: Any) -> tuple[Any, Any] | None:
    """A word in quotes of any kind, at the start of a token or behind a bracket, a comma or `=`, if it is no key and no apostrophe."""
    end = token.find(token[at], at + 1)
    if token[at] not in "\"'`" or end <= at + 1 or (at and token[at - 1] not in "([{,="):
        return None
    follows = token[end + 1 : end + 2]
    return None if is_word(follows) or follows == ":" else (end + 1, token[at] + MASK + token[at])


def url(token: str, at: Any) -> tuple[Any, Any] | None:
    """`scheme://…` and `/path?…`, with what follows up to a separator, `=` excepted."""
    start = url_start(token, at)
    if start is None or (at and token[at - 1] not in SEPARATORS):
        return None
    end = run(token, start, lambda character: character == "=" or character not in SEPARATORS)
    return (end, MASK + tail(token[at:end])) if end > start else None


def url_start(token: str, at: Any) -> Any | None:
    """The place behind `://` or `?`."""
    end = at
    if token[at] in ascii_letters:
        while is_word(token[end : end + 1]) or token[end : end + 1] in {*"+.-"}:
            end += 1
        return end + 3 if token.startswith("://", end) else None
    while token[at] == "/" and token[end : end + 1] not in SEPARATORS | {"?", ""}:
        end += 1
    return end + 1 if end > at and token.startswith("?", end) else None


def local_port(token: str, at: Any) -> tuple[Any, str] | None:
    found = "localhost:" + MASK
    return (at + len(found), MASK) if token.startswith(found, at) and token[at - 1 : at] not in LABEL_LETTERS else None


def mask_with_more(token: str, at: Any) -> tuple[int, str] | tuple[Any, Any] | None:
    """A mask and what hangs on it: `<*>/x`, `<*>=x`, `<<*>#x`, and the `=` that base64 ends with."""
    start = at + 1 if token.startswith("<" + MASK, at) else at
    if not token.startswith(MASK, start):
        return None
    start += len(MASK)
    if token[start:] in {"=", "=="}:
        return len(token), MASK
    glued = start
    while token[glued : glued + 1] in {*"=&?/\\:@#+~.*-"}:
        glued += 1
    end = run(token, glued, lambda character: character not in "\"'(){}[]<>,;|" and not is_unspaced(character))
    return (end, MASK + tail(token[at:end])) if start < glued < end else None


def masked_part(part: Any) -> str | Any:
    end = tail(part)
    body = part[: len(part) - len(end)]
    if any(is_data(body) for is_data in (is_literal, is_hex, is_mac, is_path, is_windows_path, is_mail, is_host)):
        return MASK + end
    label, _, word = body.rpartition(":")
    return f"{label}:{MASK}{end}" if word in LITERALS and label[-1:].isalnum() else part


def is_literal(part: Any) -> bool:
    return part in LITERALS


def is_hex(part: Any) -> bool:
    return len(part) >= 8 and (set(part) <= set("abcdef") or set(part) <= set("ABCDEF"))


def is_mac(part: Any) -> bool:
    shape = "".join("x" if character in hexdigits else character for character in part.replace("-", ":"))
    return shape == "xx:xx:xx:xx:xx:xx"


def is_path(part: Any) -> Any | bool:
    """Two slashes, one in front, or one beside a dot or `~`: not `and/or`."""
    return "/" in part and (part.count("/") >= 2 or (part[0] == "/" and part != "/") or "." in part or "~" in part)


def is_windows_path(part: Any) -> Any | bool:
    """A drive, a share, two backslashes around a name, or `name\\name` where no escape is meant; without slashes."""
    first, *names = part.split("\\")
    if "/" in part or not names:
        return False
    is_drive = len(first) == 2 and first[0] in ascii_letters and first[1] == ":"
    is_name = len(first) >= 2 and all(is_word(character) or character in ".-" for character in first)
    is_other = is_word(names[0][:1]) and names[0][0] not in "nrt"
    return is_drive or part.startswith("\\\\") or (len(names) > 1 and names[0] != "") or (is_name and is_other)


def is_mail(part: Any) -> bool:
    return "." in part and "@" in part


def is_host(part: Any) -> bool:
    """Names of small letters, joined by dots, that end in a domain for machines, or of three and more with a country's."""
    names = part.split(".")
    if not all(name and set(name) <= set(ascii_lowercase + "0123456789_-") for name in names):
        return False
    country = len(names) > 2 and len(names[-1]) == 2 and set(names[-1]) <= set(ascii_lowercase)
    return len(names) > 1 and (names[-1] in TOP_DOMAINS or country)


# What stands around masks.


def date(text: str, at: Any) -> tuple[Any, str] | None:
    """A month beside a mask, with the day of the week in front."""
    if at and is_word(text[at - 1]):
        return None
    for day in [*DAYS, ""]:
        start = at + len(day)
        for month in MONTHS if text.startswith(day, at) else ():
            for form in (f"{month} {MASK}", f"{month}, {MASK}", f"{MASK} {month}"):
                end = start + len(form)
                if text.startswith(form, start) and not (form.endswith(month) and is_word(text[end : end + 1])):
                    return end, MASK
    return None


def in_angles(text: str, at: Any) -> tuple[Any, str] | None:
    return (at + len(MASK) + 2, MASK) if text.startswith(f"<{MASK}>", at) else None


def after_less_than(text: str, at: Any) -> tuple[Any, str] | None:
    return (at + len(MASK) + 1, MASK) if text.startswith("<" + MASK, at) else None


def list_or_quantity(text: str, at: Any) -> tuple[Any, str] | None:
    """A mask, further masks that are joined to it, and units and time zones of any of them."""
    if not text.startswith(MASK, at):
        return None
    end, more = at, at + len(MASK)
    while more > end:
        end = more
        more = max([*ends_of_masks(text, end), *ends_of_units(text, end), end])
    return end, MASK


def ends_of_masks(text: str, at: Any) -> list[Any]:
    return [at + len(connector + MASK) for connector in CONNECTORS if text.startswith(connector + MASK, at)]


def ends_of_units(text: str, at: Any) -> list[Any]:
    ends = [at + 1 + len(unit) for unit in UNITS_AND_ZONES if text.startswith(" " + unit, at)]
    return [end for end in ends if not goes_on(text, end)]


def goes_on(text: Any, at: Any) -> Any | bool:
    """Whether a word is longer than it looked, or is a key."""
    rest = "".join(itertools.takewhile(lambda character: is_word(character) or character in "<.", text[at:]))
    return text.startswith("=", at) or any(map(is_word, rest))


def with_brackets(text: str, at: Any) -> tuple[Any, str] | None:
    if not text.startswith(MASK, at):
        return None
    end = at + len(MASK)
    while text[end : end + 5] in {f"({MASK})", f"[{MASK}]", f"{{{MASK}}}"}:
        end += 5
    return end, MASK
