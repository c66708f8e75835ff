"""Addresses of the inner plane: `unix:PATH`, or host:port with TLS."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import quote_from_bytes, unquote_to_bytes

_HOST_PORT = re.compile(r"(?:\[[^\s\]]+\]|[^\s/:\[\]=,]+):(\d{1,5})")
_MAX_PORT = 65_535
_PLAIN = "/-_.~+@ :="
"""Characters of paths that need no escape, besides letters and digits."""


class InnerPlaneError(ValueError):
    """The inner plane cannot be used as it was asked for; the message names the problem and the remedy."""


@dataclass(frozen=True)
class InnerAddress:
    """Where an inner plane is: a socket's path, or host:port."""

    text: str
    """As it was given."""
    path: Path | None
    """Of the Unix socket; None where it is host:port."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `unix:PATH`, in which `%2C` stands for a comma, `%25` for a percent sign, and so on; or host:port.

        Raises:
            InnerPlaneError: It is neither.
        """
        scheme, _, rest = text.partition(":")
        # As bytes: a path on Linux need not be UTF-8, and `fsdecode` keeps what is not.
        if scheme == "unix" and rest and not rest.endswith("/"):
            return cls(text, Path(os.fsdecode(unquote_to_bytes(rest))))
        found = _HOST_PORT.fullmatch(text)
        if found and int(found[1]) <= _MAX_PORT:
            return cls(text, None)
        raise InnerPlaneError(f"invalid address {text!r}; use unix:PATH, for example unix:/run/treering/ingest/s, or host:port")

    @property
    def public_text(self) -> str:
        """What everybody may know of it: not where directories are."""
        return "unix" if self.path else self.text


def socket_address(path: Path) -> str:
    """The address of a socket, with its path escaped where a list of addresses could not hold it."""
    return f"unix:{quote_from_bytes(os.fsencode(path), safe=_PLAIN)}"
