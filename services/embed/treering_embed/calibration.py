"""From two similarities to one score between 0 and 1 that means the same in every search.

`score = 1 / (1 + exp(-(SLOPE * (dense + late) - BORDER)))`. The two add up with equal weight, which ranked as well as any other
weights; slope and border are of a logistic regression on judged searches: at 0.5 a pattern is as often about the question as not.
"""

import numpy as np
from numpy.typing import NDArray

SLOPE = 8.0
"""How fast certainty grows with similarity."""

BORDER = 6.4
"""`SLOPE` times the sum of similarities at which the score is 0.5."""


def score(similarity: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores of sums of dense and late similarity."""
    scores: NDArray[np.float32] = (1.0 / (1.0 + np.exp(BORDER - SLOPE * similarity.astype(np.float64)))).astype(np.float32)
    return scores
