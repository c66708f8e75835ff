"""Who scores patterns by meaning, as those see it who ask."""

from collections.abc import Sequence
from typing import Protocol

from treering.v1.log_pb2 import Position
from treering_query.meaning.embed_client import PatternScores


class Scorer(Protocol):
    """Who scores patterns by meaning."""

    async def score(self, texts: Sequence[str], min_positions: Sequence[Position], timeout_s: float) -> PatternScores:
        """The score of every pattern against each text; raises EmbedUnavailable."""
