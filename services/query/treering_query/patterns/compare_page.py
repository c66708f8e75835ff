"""Where a page of a comparison ends, as a token: the place of its last difference in the order, not a number of rows."""

import math
import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xxhash

from treering.v1 import query_pb2 as pb
from treering_query.reading.page_tokens import packed, question, refused, unpacked
from treering_query.values.pattern_ids import Ids
from treering_runtime.errors import invalid_field

_TOKEN = struct.Struct("<QdQQ")
"""Fingerprint of the question, ratio, records in both selections, id."""


@dataclass(frozen=True)
class DifferencePlace:
    """The last difference that was given: by falling ratio, then by falling number of records, then by id."""

    ratio: float
    together: int
    pattern_id: int

    def comes_before(self, ratios: npt.NDArray[np.float64], together: npt.NDArray[np.int64], ids: Ids) -> npt.NDArray[np.bool_]:
        """Which differences come after it."""
        # The same three keys as in `_Sides.ranked`; the id makes the order total, so no difference comes twice.
        same_ratio, same_count = ratios == self.ratio, together == self.together
        after: npt.NDArray[np.bool_] = (ratios < self.ratio) | (
            same_ratio & ((together < self.together) | (same_count & (ids > np.uint64(self.pattern_id))))
        )
        return after

    def token(self, fingerprint: int) -> str:
        """The token for the next page of the same question."""
        return packed(_TOKEN, fingerprint, self.ratio, self.together, self.pattern_id)


def fingerprint(request: pb.ComparePatternsRequest) -> int:
    """What the next page's request must agree in."""
    return xxhash.xxh3_64_intdigest(question(request, "page_size", "min_positions"))


def place(token: str, wanted: int) -> DifferencePlace | None:
    """What a token says; None for an empty one.

    Raises:
        ServiceError: INVALID_FIELD, when it is none or was made for another question.
    """
    if not token:
        return None
    found, ratio, together, pattern_id = unpacked(_TOKEN, token)
    if found != wanted:
        raise invalid_field("page_token", "made for another question; repeat that, or begin again without one")
    # The layout allows NaN, which no ratio comes before or after.
    if not 0 <= ratio < math.inf or together >= 1 << 63:
        raise refused()
    return DifferencePlace(ratio, int(together), int(pattern_id))
