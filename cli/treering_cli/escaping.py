"""Text from logs that is safe to show: nothing in it can move the cursor, ring, recolour, retitle or reorder what is on the screen.

What cannot be seen is shown as an escape, too: two names that look alike would differ otherwise.
"""

import json
from typing import Any

_FORMATTING = (
    *(0x00AD, range(0x0600, 0x0606), 0x061C, 0x06DD, 0x070F, range(0x0890, 0x0892), 0x08E2, 0x180E, range(0x200B, 0x2010)),
    *(range(0x202A, 0x202F), range(0x2060, 0x2070), 0xFEFF, range(0xFFF9, 0xFFFC), 0x110BD, 0x110CD, range(0x13430, 0x13440)),
    *(range(0x1BCA0, 0x1BCA4), range(0x1D173, 0x1D17B), 0xE0001, range(0xE0020, 0xE0080)),
)
"""Unicode's category Cf, the bidirectional marks among it."""
_BLANK = (
    *(0x034F, range(0x115F, 0x1161), range(0x17B4, 0x17B6), range(0x180B, 0x1810), 0x2800, 0x3164, range(0xFE00, 0xFE10), 0xFFA0),
    *(range(0xFFF0, 0xFFF9), 0x1D159, range(0xE0000, 0xE1000)),
)
"""What else takes no ink: fillers, variation selectors, and whatever Unicode lets programs ignore."""
_SEPARATORS = (0x2028, 0x2029)
_CONTROLS = (*range(0x20), *range(0x7F, 0xA0))
_SHORT = {0x09: "\\t", 0x0A: "\\n", 0x0D: "\\r"}


def _codes(*parts: int | range) -> list[int]:
    return [code for part in parts for code in ([part] if isinstance(part, int) else part)]


def _escaped(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _escaped_in_json(code: int) -> str:
    """As JSON escapes it: beyond the basic plane by two surrogates."""
    if code < 0x10000:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"


_PARTS_IN_JSON = (*_FORMATTING, *_BLANK, *_SEPARATORS, range(0x7F, 0xA0))
_UNSEEN = _codes(*_FORMATTING, *_BLANK, *_SEPARATORS)
_UNSAFE = {code: _SHORT.get(code, f"\\x{code:02x}") for code in _CONTROLS} | {code: _escaped(code) for code in _UNSEEN}
_IN_JSON = {code: _escaped_in_json(code) for code in (*_UNSEEN, *range(0x7F, 0xA0))}
UNSEEN_IN_JSON = "".join(
    f"\\x{{{part:x}}}" if isinstance(part, int) else f"\\x{{{part[0]:x}}}-\\x{{{part[-1]:x}}}" for part in _PARTS_IN_JSON
)
"""What `to_json` escapes besides the controls, as the inside of a class of characters in a regular expression (RE2)."""


def escape(text: str) -> str:
    """The text on one line, with control characters (C0, DEL, C1), line separators and all that cannot be seen written as escapes."""
    return text.translate(_UNSAFE)


def escape_lines(text: str) -> str:
    """As `escape`, but line ends and tabs stay."""
    return "\n".join("\t".join(escape(cell) for cell in line.split("\t")) for line in text.split("\n"))


def to_json(value: Any, *, indent: int | None = None) -> str:
    """The value as JSON in readable characters, what cannot be seen escaped as JSON does it, so the data is exact."""
    return json.dumps(value, ensure_ascii=False, indent=indent, default=str).translate(_IN_JSON)
