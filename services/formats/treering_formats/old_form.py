"""The old logger's form: `message = ... | environment = dev | status = WARN`."""

import re

_PAIR = re.compile(r" \| ([\w.@-]+) = ")
_START = "message = "


def old_fields(line: str) -> dict[str, str] | None:
    """The fields of such a line, None when it is none. A ` | ` inside the message stays there unless it looks like a field."""
    if not line.startswith(_START):
        return None
    pieces = _PAIR.split(line[len(_START) :])
    if len(pieces) < 3:
        return None
    names = pieces[1::2]
    # A field that is there twice means that the separator stood inside the message: then nothing is known for sure.
    if len(set(names)) < len(names) or "message" in names:
        return None
    return {"message": pieces[0].strip()} | {name: value.strip() for name, value in zip(names, pieces[2::2], strict=True)}
