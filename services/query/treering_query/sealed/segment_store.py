"""Where the objects of segments are, whatever keeps them: a directory of this machine today, object storage later.

An object is written once, whole, and never changed; its name is never used for another one. Which objects count is known to the catalog
alone: one that no row of it names is left over from a change that failed, and may be deleted. Every implementation passes
`tests/query/segment_store_suite.py`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol


class ObjectExistsError(Exception):
    """There is an object of this name: its writer did not draw a new one, or somebody else writes here, too."""


class Stored(NamedTuple):
    """What is known of an object once it is durable."""

    size_bytes: int
    checksum: int
    """xxh3_64 of its bytes, read back after they were written."""


class SegmentStore(Protocol):
    """Objects by name. One thread at a time changes them; `open` and `read_range` may be called by any thread."""

    @property
    def place(self) -> str:
        """Where they are, for people: a directory, an address."""

    def put_new(self, name: str, write: Callable[[Path], object]) -> Stored:
        """Makes an object of what `write` writes into the file that it is given; durable, whole and under its name when this returns.

        Raises:
            ObjectExistsError: The name is taken; the object that has it is as before.
            Exception: What `write` raises, or the store. There is no object then, or a whole one: `delete` removes whatever is left.
        """

    def open(self, name: str) -> Path:
        """The object as a file of this machine, for as long as it is not deleted; a store that keeps its objects elsewhere fetches a copy.

        Raises:
            FileNotFoundError: It is not there; a store may also leave it to the reader of the file to find out.
        """

    def read_range(self, name: str, first: int, end: int | None = None) -> bytes:
        """The bytes from `first` to below `end`, or to its end; fewer where it is shorter.

        Raises:
            FileNotFoundError: It is not there.
            OSError: It cannot be read.
        """

    def listed(self) -> Mapping[str, int]:
        """All names with their sizes in bytes, also what an unfinished `put_new` left."""

    def delete(self, name: str) -> None:
        """Removes an object, or what an unfinished `put_new` of this name left; nothing happens where there is neither."""
