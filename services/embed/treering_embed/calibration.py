"""From two similarities to one score between 0 and 1 that means the same in every search.

`score = 1 / (1 + exp(-(SLOPE * (dense + late) - BORDER)))`. The two add up with equal weight, which ranked as well as any other
weights; slope and border are of a logistic regression on judged searches over
public logs, rounded: of the patterns around 0.5, half were judged to be about the question.
"""

import numpy as np
from numpy.typing import NDArray

SLOPE = 9.3
"""How fast certainty grows with similarity."""

BORDER = 9.3
"""`SLOPE` times the sum of similarities at which the score is 0.5."""


def score(similarity: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores of sums of dense and late similarity."""
    scores: NDArray[np.float32] = (1.0 / (1.0 + np.exp(BORDER - SLOPE * similarity.astype(np.float64)))).astype(np.float32)
    return scores
