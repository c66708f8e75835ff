"""Sets of pattern ids as arrays: there may be hundreds of thousands, and Python's sets of so many keep every other thread waiting."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from treering_runtime.patterns import NO_PATTERN, places_among

Ids: TypeAlias = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class OfTemplates:
    """The patterns of some templates, whichever these are in the moment that is asked: a pattern may join another template at any time."""

    template_ids: Ids

    def tobytes(self) -> bytes:
        """The same for the same templates, as that of an array of ids."""
        return self.template_ids.tobytes()


def is_given(value: object) -> TypeGuard[Ids | OfTemplates]:
    """Whether a value of a statement is a relation, see `relation`."""
    return isinstance(value, np.ndarray | OfTemplates)


def as_ids(pattern_ids: Iterable[int] | Ids) -> Ids:
    """Each id once, ascending."""
    # Bisection needs them in order and once; every array of ids that a predicate holds has been here.
    return np.unique(pattern_ids if isinstance(pattern_ids, np.ndarray) else np.fromiter(pattern_ids, np.uint64))


def among(pattern_ids: Ids, members: Ids) -> npt.NDArray[np.bool_]:
    """For each id whether it is one of `members`, which ascend."""
    return places_among(pattern_ids, members)[1]


def relation(name: str) -> str:
    """What stands after FROM for a value of `Snapshot.query` that is an array, or `OfTemplates`: a relation of one column, `id`.

    Bound as a list, 200,000 ids would keep Python's lock for 0.3 s of each statement; a relation is given to the database as it is.
    """
    # A name of ours, so it can stand in the text of a statement.
    return f"_given_{name}"


def has_pattern(pattern_ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """For each id of a column whether it is that of a pattern, rather than of all records that have none."""
    return pc.not_equal(pattern_ids, pa.scalar(NO_PATTERN, pa.uint64()))
