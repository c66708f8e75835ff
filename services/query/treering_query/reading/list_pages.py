"""Pages of a list whose records may change in number meanwhile: every page is about the records that the first one saw.

A page token names the question, what its first page saw of each log, and the place where the page ended. So records that arrive between
two pages are in none of them: they neither repeat nor hide an entry. Its bytes, in URL-safe base64: fingerprint of the question, number of
logs, log id and end of each, then the place, whose form each list has for itself.
"""

import base64
import binascii
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import xxhash

from treering.v1.log_pb2 import Position
from treering_query.reading.page_tokens import refused
from treering_query.reading.samples import Condition
from treering_query.values.segment import Segment
from treering_query.view.snapshot import Snapshot
from treering_runtime.errors import invalid_field

if TYPE_CHECKING:
    from google.protobuf.message import Message

_HEAD = struct.Struct("<QH")
"""Fingerprint of the question, number of logs."""

_LOG = struct.Struct("<QQ")
"""Log id, end."""


@dataclass(frozen=True)
class Bound:
    """The records below these ends: (log id, one past the last offset), by log id."""

    ends: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, snapshot: Snapshot) -> "Bound":
        """Everything that a snapshot holds."""
        return cls(tuple(sorted((position.log_id, position.offset) for position in snapshot.seen)))

    def condition(self, snapshot: Snapshot) -> Condition:
        """Holds for the records inside, among those of a snapshot."""
        # Nothing has come since, as for every first page: no record has to be compared.
        if self == Bound.of(snapshot):
            return Condition()
        logs = [f'(log_id = $bound_log{each}::ubigint and "offset" < $bound_end{each}::ubigint)' for each in range(len(self.ends))]
        values = {f"bound_{name}{each}": pair[place] for each, pair in enumerate(self.ends) for place, name in enumerate(("log", "end"))}
        return Condition(f"({' or '.join(logs) or 'false'})", values)

    def may_hold(self, segment: Segment) -> bool:
        """False when no record of the segment is inside."""
        ends = dict(self.ends)
        return any(run.first_offset < ends.get(run.log_id, 0) for run in segment.ranges)

    @property
    def seen(self) -> list[Position]:
        """For answers."""
        return [Position(log_id=log_id, offset=end) for log_id, end in self.ends]


@dataclass(frozen=True)
class Continued:
    """What a page token says."""

    bound: Bound
    place: bytes


def fingerprint(request: "Message", *free: str) -> int:
    """What the next page's request must agree in: everything but the fields that are free."""
    same = type(request)()
    same.CopyFrom(request)
    for name in ("page_token", "page_size", "min_positions", *free):
        same.ClearField(name)
    # With the name: tokens of other lists have other places. Its number rises when the form of one changes.
    return xxhash.xxh3_64_intdigest(f"{request.DESCRIPTOR.name}/1 ".encode() + same.SerializeToString(deterministic=True))


def token(fingerprint: int, bound: Bound, place: bytes) -> str:
    """The token of the page after `place`."""
    logs = b"".join(_LOG.pack(*pair) for pair in bound.ends)
    return base64.urlsafe_b64encode(_HEAD.pack(fingerprint, len(bound.ends)) + logs + place).decode()


def continued(page_token: str, fingerprint: int) -> Continued | None:
    """What a token says; None for an empty one.

    Raises:
        ServiceError: INVALID_FIELD, when it is none, or one of another question.
    """
    if not page_token:
        return None
    try:
        # Strict in characters: anything else is refused here, and not half understood.
        raw = base64.b64decode(page_token, b"-_", validate=True)
        found, count = _HEAD.unpack_from(raw)
        logs = raw[_HEAD.size : _HEAD.size + count * _LOG.size]
        ends = tuple((log_id, end) for log_id, end in _LOG.iter_unpack(logs))
    except (binascii.Error, struct.error, ValueError):
        raise refused() from None
    if found != fingerprint:
        raise invalid_field("page_token", "made for another question; repeat that, or begin again without one")
    if len(ends) != count or not _ascend(ends):
        raise refused()
    return Continued(Bound(ends), raw[_HEAD.size + len(logs) :])


def _ascend(ends: Sequence[tuple[int, int]]) -> bool:
    return all(one[0] < other[0] for one, other in pairwise(ends))
