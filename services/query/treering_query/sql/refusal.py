"""Why a statement of a user's is not run."""

from collections.abc import Mapping
from dataclasses import dataclass

_NOWHERE = 2**63
"""Locations from here on mean that the parser has none."""


@dataclass
class Refused(Exception):  # noqa: N818 - an outcome, not a fault
    """A statement that is not run. `reason` is a name of `ErrorReason`; `location` a byte offset in the statement, if known."""

    reason: str
    message: str
    location: int | None = None


def location(node: Mapping[str, object]) -> int | None:
    """Where a node of a statement's tree stands in the statement, as a byte offset, if known."""
    found = node.get("query_location")
    # The parser says "nowhere" with the largest numbers of 64 bits.
    return found if isinstance(found, int) and 0 <= found < _NOWHERE else None
