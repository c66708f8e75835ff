"""The page token of a search: which patterns were shown, and, where results are records, the last record.

A place in the order would not do: scores move in their last digits from one call to the next, and records that arrive in between lift
their patterns. So the next page is the best of what was not shown. No pattern comes twice and none is passed over; one that arrived
meanwhile may come. The token grows by 8 bytes a pattern, so it ends after `limits.MAX_PAGED_PATTERNS`.

Its bytes, in URL-safe base64: xxh3_64 of the request and the rest; a record (pattern id, time, log id, offset, tier, fit; zeros when
grouped); pattern ids. Whoever forges one gets another page of what he may see anyway; the hash keeps accidents and mixed-up requests
out.
"""

import base64
import binascii
import struct
from collections.abc import Iterable
from dataclasses import dataclass

import xxhash

from treering.v1 import query_pb2 as pb
from treering_query import limits
from treering_query.reading.page_tokens import question
from treering_query.reading.samples import Condition
from treering_query.search.ranking import Ranked, Ranking, Tier, placed
from treering_runtime.errors import ServiceError, invalid_field

_HEAD = struct.Struct("<Q")
_LAST = struct.Struct("<QqQQBd")
_ID = struct.Struct("<Q")


@dataclass(frozen=True)
class LastRecord:
    """The last record of a flat page, and the place of its pattern."""

    pattern_id: int
    time: int
    log_id: int
    offset: int
    tier: Tier
    fit: float

    @property
    def is_possible(self) -> bool:
        """Whether a record may have this time, and a pattern this fit; the database would stumble over others. NaN is in no range."""
        return 0 <= self.time <= limits.MAX_TIME_UNIX_NANO and 0 <= self.fit <= 1

    @property
    def place(self) -> Ranked:
        """Its pattern's place, as the page before had it."""
        return placed(self.pattern_id, self.tier, self.fit)

    @property
    def older(self) -> Condition:
        """Records that come after it."""
        sql = """(time, log_id, "offset") < (make_timestamp_ns($last_time::bigint), $last_log::ubigint, $last_offset::ubigint)"""
        return Condition(sql, {"last_time": self.time, "last_log": self.log_id, "last_offset": self.offset})


@dataclass(frozen=True)
class ShownPatterns:
    """What earlier pages held. Patterns of which more records may follow are not in `pattern_ids`; `last` is of such a one."""

    pattern_ids: tuple[int, ...] = ()
    last: LastRecord | None = None

    def rest(self, ranking: Ranking) -> Ranking:
        """What was not shown, best first."""
        return ranking.without([*self.pattern_ids, *([self.last.pattern_id] if self.last else ())])

    def and_also(self, pattern_ids: Iterable[int], last: LastRecord | None = None) -> "ShownPatterns":
        """With what one more page held."""
        # The pattern in whose midst the last page ended is done, unless this page ends in it again.
        before = [self.last.pattern_id] if self.last and self.last.pattern_id != (last and last.pattern_id) else []
        return ShownPatterns(tuple(dict.fromkeys([*self.pattern_ids, *before, *pattern_ids])), last)

    def token(self, fingerprint: bytes) -> str:
        """The token; empty when it would be too long."""
        # The token comes back in each request, so it has to stay far below the limit of a message.
        if len(self.pattern_ids) > limits.MAX_PAGED_PATTERNS:
            return ""
        last = self.last or LastRecord(0, 0, 0, 0, Tier.VERBATIM, 0.0)
        body = _LAST.pack(last.pattern_id, last.time, last.log_id, last.offset, last.tier, last.fit)
        body += struct.pack(f"<{len(self.pattern_ids)}Q", *self.pattern_ids)
        return base64.urlsafe_b64encode(_HEAD.pack(xxhash.xxh3_64_intdigest(fingerprint + body)) + body).decode()


def fingerprint(request: pb.SearchLogsRequest) -> bytes:
    """What a request and its next page have in common: all but the token, the size of a page, and what to wait for."""
    return question(request, "page_size", "samples_per_pattern", "literal_budget_ms", "min_positions")


def shown(token: str, fingerprint: bytes) -> ShownPatterns:
    """What a token says; nothing for an empty one.

    Raises:
        ServiceError: INVALID_FIELD, when it is not a token for this request.
    """
    if not token:
        return ShownPatterns()
    try:
        # Strict: without `validate` foreign characters are dropped, and many tokens would mean one.
        raw = base64.b64decode(token, b"-_", validate=True)
        (digest,) = _HEAD.unpack_from(raw)
        body = raw[_HEAD.size :]
        pattern_id, time, log_id, offset, tier, fit = _LAST.unpack_from(body)
        ids = tuple(number for (number,) in _ID.iter_unpack(body[_LAST.size :]))
        last = LastRecord(pattern_id, time, log_id, offset, Tier(tier), fit)
    except (binascii.Error, struct.error, ValueError):
        raise _refused() from None
    is_possible = last.is_possible and len(ids) <= limits.MAX_PAGED_PATTERNS
    if digest != xxhash.xxh3_64_intdigest(fingerprint + body) or not is_possible:
        raise _refused()
    return ShownPatterns(ids, last if last.log_id else None)


def _refused() -> ServiceError:
    return invalid_field("page_token", "not a token for this request; repeat the request that it came with, or begin again without one")
