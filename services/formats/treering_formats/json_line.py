"""One JSON object a line."""

import json
from decimal import Decimal
from typing import Any

from treering_formats.fields import flat

_DECODER = json.JSONDecoder(parse_float=Decimal)


def json_fields(line: str) -> dict[str, Any] | None:
    """The flat fields of a line that is one JSON object; None when it is not."""
    try:
        value = _DECODER.decode(line)
        if not isinstance(value, dict):
            return None
        fields = dict(flat(value)) if any(item.__class__ is dict for item in value.values()) else value
    except (ValueError, RecursionError):  # no JSON, or nested deeper than Python goes: kept as a plain message
        return None
    # looked for in the line, which is cheap, so that the values of ordinary lines are not copied
    return fields if _encodable(line) else {_clean(key): _cleaned(item) for key, item in fields.items()}


def _encodable(line: str) -> bool:
    """Whether no escape can hold half of a surrogate pair, which is no text in UTF-8."""
    return "\\ud" not in line and "\\uD" not in line


def _clean(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, list | dict):
        return _clean(json.dumps(value, ensure_ascii=False, default=str))
    return value
