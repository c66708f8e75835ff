"""The second pass: over one coarsely masked text, for the distinct texts of a batch only."""

from functools import lru_cache

from treering_runtime.patterns.fields import mask_members
from treering_runtime.patterns.phrases import mask_phrases
from treering_runtime.patterns.tokens import mask_token, mask_token_cached

_CACHE_ENTRIES = 16_384
"""Distinct texts kept: megabytes as a rule, and at the very worst this times twice `MAX_PATTERN_TEXT_CHARACTERS`."""

_SHORT_TEXT_CHARACTERS = 512
"""Texts up to this long have their tokens remembered; it bounds the memory that a cached token takes."""


@lru_cache(_CACHE_ENTRIES)
def mask_fine(coarse: str) -> str:
    """The masked text; white space becomes single spaces."""
    # Three searches for characters; the regular expressions behind them cost far more, and most texts hold none of these.
    if '"' in coarse or "='" in coarse or "':" in coarse:
        coarse = mask_members(coarse)
    # A long text would fill the cache of tokens with words that never come again.
    of_token = mask_token_cached if len(coarse) <= _SHORT_TEXT_CHARACTERS else mask_token
    return mask_phrases(list(map(of_token, coarse.split())))
