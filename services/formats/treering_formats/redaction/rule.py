"""One rule: what is masked, and with what."""

import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    r"""A rule.

    Attributes:
        name: Under which it is counted.
        pattern: What is masked.
        mask: What stands there instead; `\1` is the first group of the pattern.
        holds: Looks at a match once more; one for which it is false stays as it is.
        key: Names of attributes whose whole value is masked.
    """

    name: str
    pattern: re.Pattern[str]
    mask: str
    holds: Callable[[str], bool] | None = None
    key: re.Pattern[str] | None = None

    def masked(self, text: str) -> tuple[str, int]:
        """A text without what the rule masks, and how often it was there."""
        if self.holds is None:
            return self.pattern.subn(self.mask, text)
        count = 0

        def mask(match: re.Match[str]) -> str:
            nonlocal count
            if self.holds is not None and not self.holds(match[0]):
                return match[0]
            count += 1
            return match.expand(self.mask)

        return self.pattern.sub(mask, text), count
