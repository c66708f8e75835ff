"""From two similarities to one score between 0 and 1 that means the same in every search.

`score = 1 / (1 + exp(-(SLOPE * (dense + late) - BORDER)))`. The two add up with equal weight, which ranked as well as any other
weights. The slope is of a logistic regression on judged searches over public logs, rounded.

The border is where questions that have an answer and questions that have none part best, on 115 paraphrased questions to public logs and
36 to a web shop's, each set also asked of the other's logs, where nothing can be right. Of 50 results, these are not weak (0.5 or more):

- an answerable question keeps a right one in 37 % of cases (public logs; very terse) and 81 % (shop); 3.5 and 5.0 results on average;
- a question about other systems has none at all in 76 % and 83 %; 0.5 and 2.0 on average.

A border of 1.0 in similarity, where half of the patterns are right, kept 33 % and 67 % and silenced 84 % and 92 %: too many right answers
were called weak. Taking the other results of the same question into account (their mean as zero) parted worse.
The model cannot know what it has no words for, so `weak` is a hint, not a verdict; all results are returned and ranked alike.
"""

import numpy as np
from numpy.typing import NDArray

SLOPE = 9.3
"""How fast certainty grows with similarity."""

BORDER = 8.65
"""`SLOPE` times the sum of similarities at which the score is 0.5."""


def score(similarity: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores of sums of dense and late similarity."""
    scores: NDArray[np.float32] = (1.0 / (1.0 + np.exp(BORDER - SLOPE * similarity.astype(np.float64)))).astype(np.float32)
    return scores
