"""How telling a difference between two counts is, and in which way they differ.

The ratio is that of T. Dunning, "Accurate Methods for the Statistics of Surprise and Coincidence", Computational Linguistics 19 (1993): how
many times better two shares explain what was counted than one share does, as a logarithm, doubled. Unlike a quotient of shares it knows
that 3 against 0 may be chance and 300 against 0 is not; unlike a chi-squared test it holds for the rare events that logs are full of.
"""

import numpy as np
import numpy.typing as npt

from treering.v1 import query_pb2 as pb

Counts = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]


def log_likelihood_ratio(counts: Counts, baseline_counts: Counts, total: int, baseline_total: int) -> Numbers:
    """Dunning's ratio for each pair of counts, of so many in all; 0 where the shares are the same, and where a total is 0.

    It is the sum of `observed * ln(observed / expected)` over the four cells of the table (this pattern or another one) by (this selection
    or the baseline), doubled. By chance alone it exceeds 3.84 one time in 20, 10.83 one time in 1,000 (chi-squared, one degree of freedom).
    """
    # Against nothing, every pattern is new or gone, and by how much says no number.
    if not total or not baseline_total:
        return np.zeros(len(counts))
    everything = total + baseline_total
    together = counts + baseline_counts
    share, rest = together / everything, (everything - together) / everything
    parts = (
        _part(counts, total * share)
        + _part(baseline_counts, baseline_total * share)
        + _part(total - counts, total * rest)
        + _part(baseline_total - baseline_counts, baseline_total * rest)
    )
    # Equal shares may give a little less than 0 by rounding.
    return np.maximum(0.0, 2 * parts)


def changes(counts: Counts, baseline_counts: Counts, total: int, baseline_total: int) -> npt.NDArray[np.int64]:
    """A `PatternChange` for each pair of counts; UNSPECIFIED where the shares are the same (to one part in 2^53)."""
    # Cross-multiplied: no division, and no zero to divide by.
    weighed, baseline_weighed = counts * float(baseline_total), baseline_counts * float(total)
    return np.select(
        [baseline_counts == 0, counts == 0, weighed > baseline_weighed, weighed < baseline_weighed],
        [pb.PATTERN_CHANGE_NEW, pb.PATTERN_CHANGE_GONE, pb.PATTERN_CHANGE_MORE, pb.PATTERN_CHANGE_LESS],
        pb.PATTERN_CHANGE_UNSPECIFIED,
    )


def _part(observed: Counts, expected: Numbers) -> Numbers:
    """One cell: observed * ln(observed / expected), 0 for what was not observed."""
    some = observed > 0
    # Both branches are computed before one is chosen, so the logarithm must not see a zero.
    return np.where(some, observed * np.log(np.where(some, observed, 1) / np.where(some, expected, 1)), 0.0)
