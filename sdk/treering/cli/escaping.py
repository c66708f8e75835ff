"""Text from logs that is safe to show: nothing in it can move the cursor, ring, recolour, retitle or reorder what is on the screen."""

import json
from typing import Any

_BIDIRECTIONAL = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_SEPARATORS = (0x2028, 0x2029)
_CONTROLS = (*range(0x20), *range(0x7F, 0xA0))
_SHORT = {0x09: "\\t", 0x0A: "\\n", 0x0D: "\\r"}
_UNSAFE = {code: _SHORT.get(code, f"\\x{code:02x}") for code in _CONTROLS} | {
    code: f"\\u{code:04x}" for code in (*_BIDIRECTIONAL, *_SEPARATORS)
}
_IN_JSON = {code: f"\\u{code:04x}" for code in (*_BIDIRECTIONAL, *_SEPARATORS, *range(0x7F, 0xA0))}


def escape(text: str) -> str:
    """The text on one line, with control characters (C0, DEL, C1), line separators and bidirectional marks written as escapes."""
    return text.translate(_UNSAFE)


def escape_lines(text: str) -> str:
    """As `escape`, but line ends and tabs stay."""
    return "\n".join("\t".join(escape(cell) for cell in line.split("\t")) for line in text.split("\n"))


def to_json(value: Any, *, indent: int | None = None) -> str:
    """The value as JSON in readable characters, control characters escaped as JSON does it, so the data is exact."""
    return json.dumps(value, ensure_ascii=False, indent=indent, default=str).translate(_IN_JSON)
