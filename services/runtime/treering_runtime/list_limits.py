"""How long a list of a request may be, and how large a tree: what is counted on the wire as well as after the parsing."""

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from typing import Any, Protocol

from google.protobuf.descriptor import FieldDescriptor

from treering_runtime.errors import invalid_field


class Limit(Protocol):
    """What the value of one field may be."""

    def check(self, field: str, value: Any) -> None:
        """Raises INVALID_FIELD, naming the field and the limit, when a value cannot be served."""


@dataclass(frozen=True)
class Free:
    """Any value of its type is served; `why` says what bounds it."""

    why: str

    def check(self, field: str, value: Any) -> None:
        """Accepts everything."""

    def __str__(self) -> str:
        return f"any: {self.why}"


@dataclass(frozen=True)
class Many:
    """A list of at most so many elements, each within `each`."""

    most: int
    remedy: str = "ask for less"
    each: Limit = Free("bounded by its own message")

    def check(self, field: str, value: "Iterable[Any]") -> None:
        """Counts first."""
        # The whole list is counted before its elements: a list that is too long is refused without a look at them.
        self.check_count(field, len(value))  # type: ignore[arg-type]  # a repeated field has a length
        if not isinstance(self.each, Free):
            for index, element in enumerate(value):
                self.each.check(f"{field}[{index}]", element)

    def check_count(self, field: str, count: int) -> None:
        """Raises INVALID_FIELD for too many elements."""
        if count > self.most:
            raise invalid_field(field, f"more than {self.most}; {self.remedy}", limit=self.most)

    def __str__(self) -> str:
        return f"{self.most:,} values" if isinstance(self.each, Free) else f"{self.most:,} values, each {self.each}"


@dataclass(frozen=True)
class Branches(Many):
    """A list of messages of the kind that it stands in: a tree has at most `most` of them in all, and `depth` levels below its root."""

    _: KW_ONLY
    depth: int

    def check_tree(self, path: str, count: int, depth: int) -> None:
        """Raises INVALID_FIELD for a tree that has `count` messages so far, the last at a path and so many levels down."""
        if depth > self.depth:
            problem = f"more than {self.depth} levels deep; nest less: what is alone in its list may stand one level above"
            raise invalid_field(path, problem, limit=self.depth)
        if count > self.most:
            raise invalid_field(path, f"more than {self.most} in the whole tree; {self.remedy}", limit=self.most)

    def __str__(self) -> str:
        return f"{self.most:,} in a whole tree, {self.depth} levels"


class Tree:
    """What is counted of one tree of messages, seen from one of its levels."""

    def __init__(self, depth: int = 0, count: list[int] | None = None) -> None:
        self._depth = depth
        # One for all levels of the tree.
        self._count = [0] if count is None else count

    def grown(self, limit: Branches, path: str, count: int) -> "Tree":
        """The next level, where `count` more were found, the first at a path.

        Raises:
            ServiceError: INVALID_FIELD.
        """
        self._count[0] += count
        limit.check_tree(path, self._count[0], self._depth + 1)
        return Tree(self._depth + 1, self._count)


def row_name(field: FieldDescriptor) -> str:
    """Under which name a field stands in a table: its message and itself."""
    return f"{field.full_name.split('.')[-2]}.{field.name}"
