"""What texts mean in terms of patterns: the score of every pattern for each text, for SQL, for filters and for groupings."""

from collections.abc import Mapping, Sequence

from treering.v1.error_pb2 import ErrorReason
from treering.v1.log_pb2 import Position
from treering_query import limits
from treering_query.meaning.embed_client import EmbedUnavailable
from treering_query.meaning.meant import NOTHING, Meant
from treering_query.meaning.scorer import Scorer
from treering_runtime.errors import ServiceError, invalid_field
from treering_runtime.patterns import MASK_VERSION

_EMBED_SHARE = 0.8
"""Part of the remaining time that the embed service may use, so that there is time left to answer."""


class MeaningClient:
    """Asks the embed service, and says in the contract's words when it cannot be asked."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    async def of_filters(self, texts: Mapping[str, str], min_positions: Sequence[Position], remaining_s: float | None) -> Meant:
        """The scores of the texts of filters and groupings, by the name of the field that each stands in; empty ones ask for nothing.

        Raises:
            ServiceError: As `of`; INVALID_FIELD.
        """
        # By field, so that an error names the one that the caller wrote.
        asked = {field: text for field, text in texts.items() if text}
        for field, text in asked.items():
            if not text.strip():
                raise invalid_field(field, "only white space; say in some words what the records are about")
        return await self.of(_different(asked), min_positions, remaining_s) if asked else NOTHING

    async def of(self, texts: Sequence[str], min_positions: Sequence[Position], remaining_s: float | None) -> Meant:
        """The scores of some texts, each given once, of everything below `min_positions` at least.

        Raises:
            ServiceError: PEER_UNAVAILABLE; TIMED_OUT when `min_positions` are not indexed in time.
        """
        left = limits.DEFAULT_DEADLINE_S if remaining_s is None else remaining_s
        # Who waits for a position wants embed to wait, too; else a share of the time is kept for the answer.
        timeout_s = left if min_positions else min(limits.EMBED_TIMEOUT_S, left * _EMBED_SHARE)
        try:
            found = await self._scorer.score(texts, min_positions, timeout_s)
        except EmbedUnavailable as error:
            raise _unavailable(error) from error
        # With other masking rules the ids mean other patterns: a wrong answer without any error.
        if found.mask_version != MASK_VERSION:
            raise _unavailable(
                EmbedUnavailable(f"embed masks by rules {found.mask_version}, query by {MASK_VERSION}; run one version of both")
            )
        return Meant(tuple(texts), found.pattern_ids, found.scores)


def _different(asked: Mapping[str, str]) -> list[str]:
    """Texts, each once."""
    fields: dict[str, str] = {}
    for field, text in asked.items():
        fields.setdefault(text, field)
        if len(fields) > limits.MAX_ABOUT_TEXTS:
            problem = f"more than {limits.MAX_ABOUT_TEXTS} different texts in one request; ask in several calls"
            raise invalid_field(field, problem, limit=limits.MAX_ABOUT_TEXTS)
    return list(fields)


def _unavailable(error: EmbedUnavailable) -> ServiceError:
    if error.waiting_for:
        message = f"offset {error.waiting_for} was not indexed in time; ask again with more time"
        return ServiceError(ErrorReason.ERROR_REASON_TIMED_OUT, message, metadata={"waiting_for": error.waiting_for})
    message = f"{error.reason}; try again, or ask without about and meaning, which need it"
    return ServiceError(ErrorReason.ERROR_REASON_PEER_UNAVAILABLE, message, metadata={"peer": "embed"})
