"""Registry against index: what DigestIndex says."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass

import numpy as np

from treering_embed.registry.registry import State
from treering_runtime.patterns import NO_PATTERN
from treering_runtime.patterns.ids import Ids


@dataclass(frozen=True)
class Comparison:
    """Every pattern by its state; the ids of each state in order."""

    indexed: list[int]
    pending: list[int]
    unreadable: list[int]
    missing: list[int]
    """Registered as indexed, and not in the index."""
    unknown: list[int]
    """In the index, and not registered."""
    keyword_only: list[int]
    """Not registered, because a cap refused them or they gave way."""

    def translated(self, to_wire: Callable[[Ids], Ids]) -> "Comparison":
        """The same by other ids; a pattern without one keeps its own, so that none is missing in any list."""

        def ids(stored: list[int]) -> list[int]:
            given = np.array(stored, np.uint64)
            found = to_wire(given)
            return sorted(np.where(found == NO_PATTERN, given, found).tolist())

        return Comparison(**{name: ids(stored) for name, stored in asdict(self).items()})


def compare(before: Mapping[int, State], held: Iterable[int], after: Mapping[int, State], keyword_only: Iterable[int] = ()) -> Comparison:
    """Compares the index with the registry as it was before and after the index was read: what changed meanwhile is no fault."""
    index = set(held)

    def stayed(state: State) -> set[int]:
        return {key for key, found in after.items() if found is state and before.get(key) is state}

    # The index is read between the two looks at the registry. Only a state that was the same in both can be compared with it.
    indexed = stayed(State.INDEXED)
    # Union: a pattern that was registered or forgotten meanwhile may rightly have a vector at that moment.
    known = before.keys() | after.keys()
    return Comparison(
        indexed=sorted({key for key, state in after.items() if state is State.INDEXED} - (indexed - index)),
        pending=sorted(key for key, state in after.items() if state is State.PENDING),
        unreadable=sorted(key for key, state in after.items() if state is State.UNREADABLE),
        missing=sorted(indexed - index),
        unknown=sorted(index - known),
        # An id leaves the table of refused ones at the commit of its registration; one that is registered counts as that.
        keyword_only=sorted(set(keyword_only) - after.keys()),
    )
