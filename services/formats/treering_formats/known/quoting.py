"""Words of a line with quotes."""

import re

_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\[[^\]]*\])|(\S+)')
_ESCAPE = re.compile(r"\\(u[\da-fA-F]{4}|.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r"}


def words(line: str) -> list[str]:
    """The words of a line; one in double quotes, or in brackets, may have spaces in it. Escapes stay as they are."""
    return [match[1] if match[1] is not None else match[0] for match in _WORD.finditer(line)]


def unescaped(text: str) -> str:
    r"""A text in which `\n`, `\"`, `\u00e9` and the like are the characters they mean."""
    return _ESCAPE.sub(_meaning, text) if "\\" in text else text


def _meaning(match: re.Match[str]) -> str:
    name = match[1]
    if len(name) == 5:
        found = chr(int(name[1:], 16))
        return match[0] if "\ud800" <= found <= "\udfff" else found
    return _ESCAPED.get(name, name)
