"""Who says which patterns are closest in meaning, as a search sees it."""

from typing import Protocol

from treering.v1.embed_pb2 import SearchPatternsRequest
from treering_query.meaning.embed_client import MeaningAnswer


class Judge(Protocol):
    """Who scores patterns by meaning."""

    async def search(self, request: SearchPatternsRequest, timeout_s: float) -> MeaningAnswer:
        """Scores of the patterns that are closest in meaning; raises EmbedUnavailable."""
