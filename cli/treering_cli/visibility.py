"""Waiting until what was sent is in the answers of both sinks."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from treering_cli.output import note

if TYPE_CHECKING:
    from treering.client import Client
    from treering.v1.log_pb2 import Position

_POLL_S = 0.05
_SAY_EVERY_S = 10.0
_ANSWER_S = 5.0
"""How long one look at a sink may take, seconds."""


def wait_visible(client: "Client", positions: Sequence["Position"], timeout_s: float) -> str:
    """Returns when SQL and search include everything below `positions`, or after `timeout_s` seconds, and says now and then how far it is.

    A sink that does not answer, in time or at all, is asked again: a busy machine and a restart are no reason to stop.

    Returns:
        What is not visible, and why; empty when everything is.
    """
    started = said = time.monotonic()
    sinks: dict[str, Callable[..., Any]] = {"query": client.get_query_status, "embed": client.get_embed_status}
    while True:
        missing = {name: lack for name, status in sinks.items() if (lack := _missing(positions, status))}
        sinks = {name: sinks[name] for name in missing}
        behind = "; ".join(f"{name} {lack}" for name, lack in missing.items())
        now = time.monotonic()
        if not missing or now - started >= timeout_s:
            return behind
        if now - said >= _SAY_EVERY_S:
            said = now
            note(f"treering: everything is stored, not all of it is visible yet: {behind}")
        time.sleep(_POLL_S)


def _missing(positions: Iterable["Position"], status: Callable[..., Any]) -> str:
    """What a sink lacks, in words; empty when nothing."""
    from treering.errors import TreeringError  # noqa: PLC0415 - start-up

    try:
        seen = {position.log_id: position.offset for position in status(timeout=_ANSWER_S).seen}
    except TreeringError as error:
        return f"gives no answer ({error.message})"
    for position in positions:
        have = seen.get(position.log_id, 0)
        if have < position.offset:
            return f"is at offset {have} of {position.offset}"
    return ""
