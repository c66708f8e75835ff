"""What texts mean in terms of patterns: the score of every pattern for each text, for SQL, for filters and for groupings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from treering.v1.error_pb2 import ErrorReason
from treering.v1.log_pb2 import Position
from treering_query import limits
from treering_query.embed_client import EmbedUnavailable, PatternScores
from treering_query.store.view import View
from treering_runtime.errors import ServiceError
from treering_runtime.patterns import MASK_VERSION

_EMBED_SHARE = 0.8
"""Part of the remaining time that the embed service may use, so that there is time left to answer."""


class Scorer(Protocol):
    """Who scores patterns by meaning."""

    async def score(self, texts: Sequence[str], min_positions: Sequence[Position], timeout_s: float) -> PatternScores:
        """The score of every pattern against each text; raises EmbedUnavailable."""


@dataclass(frozen=True)
class Meant:
    """The scores of some texts: `pattern_ids` ascending, and for each text a float32 of each of them."""

    texts: tuple[str, ...]
    pattern_ids: npt.NDArray[np.uint64]
    scores: tuple[npt.NDArray[np.float32], ...]

    def table(self) -> pa.Table:
        """The ids, then the scores of each text in a column of its own."""
        return pa.table([self.pattern_ids, *self.scores], names=["pattern_id", *(str(number) for number in range(len(self.scores)))])

    def missing_in(self, view: View) -> str:
        """That some patterns of a view have no score, in words for people; empty when all have one."""
        known = np.concatenate([np.empty(0, np.uint64), *(table.column("pattern_id").to_numpy() for table in view.patterns)])
        missing = int(np.isin(known, self.pattern_ids, assume_unique=True, invert=True).sum())
        return f"{missing:,} of {len(known):,} patterns have no vector yet: meaning() is 0 for them" if missing else ""


class Meaning:
    """Asks the embed service, and says in the contract's words when it cannot be asked."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    async def of(self, texts: Sequence[str], min_positions: Sequence[Position], remaining_s: float | None) -> Meant:
        """The scores of some texts, each given once, of everything below `min_positions` at least.

        Raises:
            ServiceError: PEER_UNAVAILABLE; TIMED_OUT when `min_positions` are not indexed in time.
        """
        left = limits.DEFAULT_DEADLINE_S if remaining_s is None else remaining_s
        timeout_s = left if min_positions else min(limits.EMBED_TIMEOUT_S, left * _EMBED_SHARE)
        try:
            found = await self._scorer.score(texts, min_positions, timeout_s)
        except EmbedUnavailable as error:
            raise _unavailable(error) from error
        if found.mask_version != MASK_VERSION:
            raise _unavailable(
                EmbedUnavailable(f"embed masks by rules {found.mask_version}, query by {MASK_VERSION}; run one version of both")
            )
        order = np.argsort(found.pattern_ids)
        return Meant(tuple(texts), found.pattern_ids[order], tuple(column[order] for column in found.scores))


def _unavailable(error: EmbedUnavailable) -> ServiceError:
    if error.waiting_for:
        message = f"offset {error.waiting_for} was not indexed in time; ask again with more time"
        return ServiceError(ErrorReason.ERROR_REASON_TIMED_OUT, message, metadata={"waiting_for": error.waiting_for})
    message = f"{error.reason}; try again, or ask without meaning() and about(), which need it"
    return ServiceError(ErrorReason.ERROR_REASON_PEER_UNAVAILABLE, message, metadata={"peer": "embed"})
