"""What a filter may be as a whole: its size, and what makes no sense together. What each field may hold says `request_limits`."""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from treering.v1.log_pb2 import AttributeFilter, LogFilter, NumberRange, TextCondition
from treering_query import limits
from treering_query.reading.filters import expressions
from treering_query.reading.filters.bound import FEW
from treering_query.reading.filters.words import words
from treering_runtime.errors import invalid_field
from treering_runtime.request_limits import Branches

_BRANCHES = ("all_of", "any_of", "none_of")
_LISTS = ("attributes", "message", "ranges")
"""Fields of which each element is a condition."""

_LARGE_REMEDY = "give the values of one field as one list, or ask in several calls"
TREE = Branches(limits.MAX_FILTER_NODES, _LARGE_REMEDY, depth=limits.MAX_FILTER_DEPTH)
"""How large the tree of a filter may be."""


def check(log_filter: LogFilter, path: str, most: int) -> None:
    """Checks a filter with all that is in it, of which `most` may be conditions.

    Raises:
        ServiceError: INVALID_FIELD, naming a field by its path and what to do.
    """
    size = _Size(most)
    for node, place in _nodes(log_filter, path):
        _check_node(node, place, size)
    # The dearest check last.
    expressions.check(size.expressions)


def abouts(log_filter: LogFilter, path: str = "filter") -> dict[str, str]:
    """The texts that a filter asks about, wherever in it, by the path of their field.

    Raises:
        ServiceError: INVALID_FIELD; the tree is too large.
    """
    return {f"{place}.about": node.about for node, place in _nodes(log_filter, path) if node.about}


def _nodes(log_filter: LogFilter, path: str) -> Iterator[tuple[LogFilter, str]]:
    """A filter and all that are in it, with their paths."""
    # A queue and no calls: a filter that was never on the wire may be of any depth.
    nodes, count = deque([(log_filter, path, 0)]), 0
    while nodes:
        node, place, depth = nodes.popleft()
        for name in _BRANCHES:
            for index, each in enumerate(getattr(node, name)):
                count += 1
                # As on the wire, before anything is called as deep as it is.
                TREE.check_tree(f"{place}.{name}[{index}]", count, depth + 1)
                nodes.append((each, f"{place}.{name}[{index}]", depth + 1))
        yield node, place


@dataclass
class _Size:
    """What is in a tree so far."""

    most_conditions: int
    conditions: int = 0
    values: int = 0
    joins: int = 0
    words: int = 0
    expressions: dict[str, str] = field(default_factory=dict)
    """What `matches`, by path."""

    def add_conditions(self, path: str, count: int) -> None:
        self.conditions += count
        if self.conditions > self.most_conditions:
            problem = f"more than {self.most_conditions} conditions in one tree; {_LARGE_REMEDY}"
            raise invalid_field(path, problem, limit=self.most_conditions)

    def add_values(self, path: str, count: int) -> None:
        self.values += count
        if count > FEW:
            self.add_join(path)
        if self.values > limits.MAX_FILTER_VALUES:
            problem = f"more than {limits.MAX_FILTER_VALUES} values in the lists of one tree; ask for less"
            raise invalid_field(path, problem, limit=limits.MAX_FILTER_VALUES)

    def add_join(self, path: str) -> None:
        self.joins += 1
        if self.joins > limits.MAX_FILTER_JOINS:
            problem = f"more than {limits.MAX_FILTER_JOINS} lists of templates, or of over {FEW} values, in one tree; give them as one list"
            raise invalid_field(path, problem, limit=limits.MAX_FILTER_JOINS)

    def add_words(self, path: str, count: int) -> None:
        self.words += count
        # Each becomes a part of an expression, as large as some of those that callers may write.
        if self.words + len(self.expressions) > limits.MAX_FILTER_EXPRESSIONS:
            problem = f"more than {limits.MAX_FILTER_EXPRESSIONS} expressions and words in one tree; join expressions with |"
            raise invalid_field(path, problem, limit=limits.MAX_FILTER_EXPRESSIONS)

    def add_expression(self, path: str, expression: str) -> None:
        self.expressions[path] = expression
        self.add_words(path, 0)


def _check_node(node: LogFilter, path: str, size: _Size) -> None:
    for each, value in node.ListFields():
        if each.name in _BRANCHES:
            continue
        size.add_conditions(f"{path}.{each.name}", len(value) if each.name in _LISTS else 1)
        if each.is_repeated and each.name not in _LISTS:
            size.add_values(f"{path}.{each.name}", len(value))
    if 0 < len(node.template_ids) <= FEW:
        # Of templates, the patterns are joined however few there are.
        size.add_join(f"{path}.template_ids")
    _check_ends(node, path)
    for index, attribute in enumerate(node.attributes):
        _check_attribute(attribute, f"{path}.attributes[{index}]", size)
    for index, text in enumerate(node.message):
        _check_text(text, f"{path}.message[{index}]", size)
    for index, run in enumerate(node.ranges):
        if run.end_offset_exclusive <= run.first_offset:
            raise invalid_field(f"{path}.ranges[{index}].end_offset_exclusive", "not above first_offset; the end is exclusive")


def _check_ends(node: LogFilter, path: str) -> None:
    if 0 < node.end_time_unix_nano <= node.start_time_unix_nano:
        raise invalid_field(f"{path}.end_time_unix_nano", "not after start_time_unix_nano; the end is exclusive")
    if 0 < node.arrival_end_time_unix_nano <= node.arrival_start_time_unix_nano:
        raise invalid_field(f"{path}.arrival_end_time_unix_nano", "not after arrival_start_time_unix_nano; the end is exclusive")
    if 0 < node.max_severity < node.min_severity:
        raise invalid_field(f"{path}.max_severity", "below min_severity, so that nothing is selected; swap them")


def _check_attribute(attribute: AttributeFilter, path: str, size: _Size) -> None:
    if not attribute.key:
        raise invalid_field(f"{path}.key", "empty; name the attribute")
    size.add_values(f"{path}.values", len(attribute.values))
    size.add_conditions(f"{path}.text", len(attribute.text))
    for index, text in enumerate(attribute.text):
        _check_text(text, f"{path}.text[{index}]", size)
    _check_number(attribute.number, f"{path}.number")


def _check_text(text: TextCondition, path: str, size: _Size) -> None:
    name = text.WhichOneof("condition")
    if name is None:
        raise invalid_field(path, "states no condition; set contains, word, phrase, prefix, equals or matches")
    place = f"{path}.{name}"
    if name == "matches":
        size.add_expression(place, text.matches)
    elif name == "word":
        size.add_words(place, 1)
        if words(text.word) != [text.word]:
            raise invalid_field(place, "not one word of letters and digits; give several as `phrase`, and any text as `contains`")
    elif name == "phrase":
        _check_phrase(words(text.phrase), place, size)


def _check_phrase(parts: list[str], path: str, size: _Size) -> None:
    if not parts:
        raise invalid_field(path, "no letter or digit in it; look for other characters with `contains`")
    if len(parts) > limits.MAX_PHRASE_WORDS:
        problem = f"{len(parts)} words, over {limits.MAX_PHRASE_WORDS}; give its most telling part"
        raise invalid_field(path, problem, limit=limits.MAX_PHRASE_WORDS)
    size.add_words(path, len(parts))


def _check_number(number: NumberRange, path: str) -> None:
    ends = {name: getattr(number, name) for end in ("lower", "upper") if (name := number.WhichOneof(end))}
    for name, value in ends.items():
        if math.isnan(value):
            raise invalid_field(f"{path}.{name}", "NaN, which no number is compared with; give a number")
    if len(ends) == len(("lower", "upper")):
        (_, low), (upper, high) = ends.items()
        # Equal ends are one number, unless one of them is left out.
        if low > high or (low == high and set(ends) != {"at_least", "at_most"}):
            raise invalid_field(f"{path}.{upper}", "not above the lower end, so that nothing is selected; swap them")
