"""Ids of patterns: nobody can compute a text that gets the id of another one, and who holds which is written down.

The id of a kind of record, its service and masked message, is the first 64 bits (little-endian) of BLAKE2b-128 over the service's length
in bytes (8 bytes, little-endian), the service and the text. The other 64 bits are a check: where an id is held already, both are
compared. Two kinds of one id are two texts that somebody searched for; the later one has no id then. Its records go under
`NO_PATTERN`, where SQL and words find them.
"""

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import xxhash

from treering_runtime.pattern_id import ID_BITS, NO_PATTERN, fingerprint

Ids: TypeAlias = npt.NDArray[np.uint64]


def former_pattern_id(service: str, text: str) -> int:
    """The id that a kind had under mask version 2: xxh3_64 of service, a zero byte and text. Stores keep it for the kinds they had then."""
    name = service.encode()
    return xxhash.xxh3_64_intdigest(name + b"\0" + text.encode(), seed=len(name) if b"\0" in name else 0)


class PatternIds:
    """Which kind holds which id: of one store, or of one registry.

    A kind that was stored under a former id keeps it (it is *former*): nothing that is stored changes. Between services a kind goes by its
    new id, whatever each of them stores it under; `to_wire` and `to_stored` translate.

    For one thread that claims. Another may translate, and release while nothing claims.

    Args:
        stored: Id, service and text of what is stored.
    """

    def __init__(self, stored: Iterable[tuple[int, str, str]] = ()) -> None:
        self._holders: dict[int, int] = {}
        """The fingerprint of who holds an id; a former kind holds its new id, too, so that no other kind gets it."""
        self._former: dict[int, int] = {}
        """The former ids of kinds, by fingerprint."""
        self.restore(stored)

    def restore(self, stored: Iterable[tuple[int, str, str]]) -> None:
        """Takes over what is stored. The id of a former kind is not computed from its text, but believed."""
        for held, service, text in stored:
            # Stored under 0 means without an id: such a row holds nothing for its kind.
            if held == NO_PATTERN:
                continue
            found = fingerprint(service, text)
            self._holders[held] = found
            if held != found & ID_BITS:
                self._former[found] = held
        # after all others: an id that is stored is its kind's, whoever else would get it
        for found in self._former:
            self._holders.setdefault(found & ID_BITS, found)
        self._translation = _Translation(self._pairs())

    def claim(self, service: str, text: str) -> int:
        """The id that a kind holds from now on; `NO_PATTERN` where another one holds it."""
        found = fingerprint(service, text)
        # Most registries have no former kinds: then this costs one look at an empty dict.
        if self._former and (former := self._former.get(found)) is not None:
            return former
        new = found & ID_BITS
        # the whole fingerprint, not the id alone: two texts of one id can be made, two of one fingerprint cannot
        if (holder := self._holders.get(new)) is not None:
            return new if holder == found else NO_PATTERN
        # A hash of 0 claims nothing, as its id says "no pattern".
        if new != NO_PATTERN:
            self._holders[new] = found
        return new

    def release(self, pattern_ids: Iterable[int]) -> None:
        """Nobody holds these ids any more; a former kind that comes again gets its new id."""
        before = len(self._former)
        for held in pattern_ids:
            found = self._holders.pop(held, None)
            if found is not None and self._former.get(found) == held:
                del self._former[found]
                # Both ids of a former kind become free, but the new one only where this kind holds it.
                if self._holders.get(found & ID_BITS) == found:
                    del self._holders[found & ID_BITS]
        if len(self._former) != before:
            # Made anew and swapped whole: another thread may translate by the old one at this moment.
            self._translation = _Translation(self._pairs())

    def _pairs(self) -> list[tuple[int, int]]:
        """Former ids with the new ones; `NO_PATTERN` as the new one where another kind holds that."""
        return [(held, found & ID_BITS if self._holders[found & ID_BITS] == found else NO_PATTERN) for found, held in self._former.items()]

    @property
    def translates(self) -> bool:
        """Whether any kind is stored under another id than other services know it by."""
        return bool(self._former)

    def to_wire(self, pattern_ids: Ids) -> Ids:
        """Stored ids as other services know them; `NO_PATTERN` for what they cannot know."""
        return self._translation.to_wire(pattern_ids)

    def to_stored(self, pattern_ids: Ids) -> Ids:
        """Ids from another service as they are stored here; `NO_PATTERN` for one that means something else here."""
        return self._translation.to_stored(pattern_ids)


class _Translation:
    """Former and new ids side by side. Immutable, so that any thread may use it.

    Args:
        pairs: Former id and new id; `NO_PATTERN` as the new one = none.
    """

    def __init__(self, pairs: list[tuple[int, int]]) -> None:
        # Sorted, as `places_among` bisects both columns: one order by former ids, one by new ones.
        table = np.array(sorted(pairs), np.uint64).reshape(-1, 2)
        self._stored, self._wire = table[:, 0], table[:, 1]
        known = table[self._wire != NO_PATTERN]
        known = known[np.argsort(known[:, 1])]
        self._known_wire, self._known_stored = known[:, 1], known[:, 0]

    def to_wire(self, pattern_ids: Ids) -> Ids:
        return _mapped(pattern_ids, self._stored, self._wire, self._known_wire)

    def to_stored(self, pattern_ids: Ids) -> Ids:
        return _mapped(pattern_ids, self._known_wire, self._known_stored, self._stored)


def _mapped(pattern_ids: Ids, given: Ids, meant: Ids, others: Ids) -> Ids:
    """What each id of `given` means; `NO_PATTERN` for one of `others` alone, which is another kind's there. Both ascend."""
    if not len(given) and not len(others):
        return pattern_ids
    place, is_given = places_among(pattern_ids, given)
    _, is_other = places_among(pattern_ids, others)
    # First those that mean something else, then those that are given: an id may be in both lists, and the latter wins.
    mapped = np.where(is_other, np.uint64(NO_PATTERN), pattern_ids)
    mapped[is_given] = meant[place[is_given]]
    return mapped


def places_among(pattern_ids: Ids, members: Ids) -> "tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]":
    """For each id its place in `members`, which ascend, and whether it is one of them; where it is none, the place means nothing.

    By bisection: O(n log m), without Python's lock.
    """
    if not len(members):
        return np.zeros(len(pattern_ids), np.intp), np.zeros(len(pattern_ids), np.bool_)
    # `searchsorted` answers `len(members)` for what is above all of them.
    places = np.minimum(np.searchsorted(members, pattern_ids), len(members) - 1)
    return places, np.equal(members[places], pattern_ids)
