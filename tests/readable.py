"""Waits until there is something to read, whatever the number of the descriptor: `select.select` knows none above 1,023."""

import selectors
from typing import IO, Any


def is_readable(stream: IO[Any], timeout_s: float) -> bool:
    """Whether something, or the end, can be read within `timeout_s` seconds."""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        return bool(selector.select(timeout_s))
