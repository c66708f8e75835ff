"""Waiting until what was sent is in the answers of both sinks."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from treering.cli.problems import Refusal
from treering.errors import UnavailableError

if TYPE_CHECKING:
    from treering.client import Client
    from treering.v1.log_pb2 import Position

_POLL_S = 0.05


def wait_visible(client: "Client", positions: Sequence["Position"], timeout_s: float) -> None:
    """Returns when SQL and search include everything below `positions`.

    Raises:
        Refusal: They do not after `timeout_s` seconds; the message says how far each sink is.
    """
    end = time.monotonic() + timeout_s
    sinks: dict[str, Callable[..., Any]] = {"query": client.get_query_status, "embed": client.get_embed_status}
    while sinks:
        missing = {}
        for name, status in list(sinks.items()):
            missing[name] = _missing(positions, status)
            if missing[name] == "":
                del sinks[name]
        if sinks and time.monotonic() > end:
            behind = "; ".join(f"{name} {missing[name]}" for name in sinks)
            raise Refusal(f"everything is stored, but not all of it is searchable after {timeout_s:g} s: {behind}; see `treering status`")
        if sinks:
            time.sleep(_POLL_S)


def _missing(positions: Iterable["Position"], status: Callable[..., Any]) -> str:
    """What a sink lacks, in words; empty when nothing."""
    try:
        seen = {position.log_id: position.offset for position in status(timeout=5).seen}
    except UnavailableError as error:
        return f"does not answer ({error.message})"
    for position in positions:
        have = seen.get(position.log_id, 0)
        if have < position.offset:
            return f"is at offset {have} of {position.offset}"
    return ""
