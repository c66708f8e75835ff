"""`LogFilter` as SQL: a condition over the relation `logs` whose values are bound, never pasted.

A filter is a tree. `checks` looks at its size and at what makes no sense together, and names what is wrong by its path; `tree` walks it
once more and joins the conditions of each node (`node`, `attributes`, `texts`) with those of the nodes below. Beside the SQL goes what must
hold for every selected record, so that whole segments are passed over (`values.predicate`).

Every condition is true or false for a record and never null: NOT over a null would leave out records that the filter selects.
"""

from treering_query.reading.filters.checks import abouts
from treering_query.reading.filters.literals import contains, searched
from treering_query.reading.filters.tree import where

__all__ = ["abouts", "contains", "searched", "where"]
