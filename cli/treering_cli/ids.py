"""Ids as people type them: decimal, as SQL, JSON and error texts have them."""

import re

import typer

_EARLIER = re.compile(r"(?=.*[a-f])[0-9a-f]{16}")
"""As earlier versions showed log ids, where it cannot be a decimal number: with a letter in it."""


def id_of(what: str, text: str) -> int:
    """The id that was typed; 16 hexadecimal digits are taken, too, where one of them is a letter.

    Args:
        what: The option or argument, for the error.
        text: What was typed.

    Raises:
        typer.BadParameter: It is no id.
    """
    if _EARLIER.fullmatch(text):
        return int(text, 16)
    if not (text.isascii() and text.isdecimal() and int(text) < 2**64):
        raise typer.BadParameter(f"{what} {text!r} is no id; ids are whole numbers below 2^64, as `--json` and SQL show them")
    return int(text)
