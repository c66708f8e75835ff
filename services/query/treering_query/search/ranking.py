"""The order of search results: letters before meaning, meaning before nothing.

Three tiers: patterns with a record that holds the whole query; with a record that holds every identifier of it; the rest. Within a tier
the score decides (meaning, or words where meaning is not asked or not there), then the pattern's id, so that the order is total.

Tiers, not a weighted sum: on 155 judged searches over real logs, adding BM25 to the vectors' score in any weight or by reciprocal rank
fusion lowered nDCG@10 (0.66 to 0.48-0.52 for fusion with equal weights), because words of a sentence mostly match by accident; literal
tiers raised searches for names from 0.64 to 0.99 and changed no other.

Pure: no input, no output, no clock.
"""

import enum
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

BORDER = 0.5
"""The calibrated score that separates "about this" from not."""


class Tier(enum.IntEnum):
    """How a pattern was found; the smaller the stronger."""

    VERBATIM = 0
    IDENTIFIERS = 1
    REST = 2


@dataclass(frozen=True)
class Ranked:
    """A pattern in its place. `fit` is its score by meaning or words, 0..1; `score` what the caller sees."""

    pattern_id: int
    tier: Tier
    fit: float
    score: float
    weak: bool


@dataclass(frozen=True)
class Hits:
    """Patterns that were found letter by letter. A pattern in both sets is verbatim."""

    verbatim: AbstractSet[int] = frozenset()
    identifiers: AbstractSet[int] = frozenset()

    def tier(self, pattern_id: int) -> Tier:
        """The tier of a pattern."""
        if pattern_id in self.verbatim:
            return Tier.VERBATIM
        return Tier.IDENTIFIERS if pattern_id in self.identifiers else Tier.REST

    @property
    def pattern_ids(self) -> set[int]:
        """All of them."""
        return {*self.verbatim, *self.identifiers}


def rank(hits: Hits, fits: Mapping[int, float], min_score: float = 0.0) -> list[Ranked]:
    """Every pattern that was hit or has a fit, best first, each once.

    A literal hit shows at least `BORDER`: its fit is mapped to the upper half of the scale, which keeps the order. A fit outside 0..1, or
    one that is no number, counts as the nearest end, or 0.

    Args:
        hits: What was found letter by letter.
        fits: Scores by meaning or words, 0..1; a hit without one counts as 0.
        min_score: Results below it are left out, but never a literal hit: whoever names something wants every place that holds it.
    """
    ranked = [placed(pattern_id, hits.tier(pattern_id), fits.get(pattern_id, 0.0)) for pattern_id in {*hits.pattern_ids, *fits}]
    ranked.sort(key=lambda result: (result.tier, -result.fit, result.pattern_id))
    return [result for result in ranked if result.tier is not Tier.REST or result.score >= min_score]


def placed(pattern_id: int, tier: Tier, fit: float) -> Ranked:
    """A pattern with its score."""
    fit = min(max(fit, 0.0), 1.0) if fit == fit else 0.0  # noqa: PLR0124 - NaN alone differs from itself
    literal = tier is not Tier.REST
    score = BORDER + (1 - BORDER) * fit if literal else fit
    return Ranked(pattern_id, tier, fit, score, weak=not literal and score < BORDER)
