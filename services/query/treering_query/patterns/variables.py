"""The values of a pattern's variable parts, read back from messages: "which hosts?".

The masked text says what is constant; what stands between is the value. Matching is linear in the length of a message (RE2, Cox 2010),
and takes a column of messages at a time.
"""

import re
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from treering.v1 import query_pb2 as pb
from treering_query import limits
from treering_runtime.limits import MAX_PATTERN_TEXT_CHARACTERS
from treering_runtime.patterns import MASK, without_colours

_HERE = "<?>"
"""Stands for the variable that is meant."""


def read_variables(text: str, messages: pa.ChunkedArray, values: int) -> tuple[list[pb.PatternVariable], int]:
    """The variables of a masked text, and from how many of the messages they were read.

    Args:
        text: The masked text of a pattern or a template.
        messages: Messages of it. Only their first `MAX_PATTERN_TEXT_CHARACTERS` characters were masked, and only these are read.
        values: With how many values each variable is listed.
    """
    # A text with n variables has n + 1 constant pieces, some of them empty.
    pieces = text.split(MASK)
    count = min(len(pieces) - 1, limits.MAX_PATTERN_VARIABLES)
    if not count or not len(messages):
        return [], 0
    # As masking did it: what it did not see must not be matched here.
    heads = without_colours(pc.utf8_slice_codeunits(messages, 0, MAX_PATTERN_TEXT_CHARACTERS))
    # A message that was cut has no end to anchor at.
    whole = pc.max(pc.utf8_length(messages)).as_py() <= MAX_PATTERN_TEXT_CHARACTERS
    # A message that does not match gives null: it belongs to the pattern, but other rules masked it.
    found = pc.extract_regex(heads, pattern=_expression(pieces, count, whole=whole)).drop_null()
    if not len(found):
        return [], 0
    columns = [pc.struct_field(found, [index]) for index in range(count)]
    return [_variable(index, pieces, column, values) for index, column in enumerate(columns)], len(found)


def _expression(pieces: Sequence[str], count: int, *, whole: bool) -> str:
    """Constant words with any space between them, and a group for each of the first `count` variables."""
    # Masking joined white space, so any amount of it is the same constant.
    constant = [r"\s+".join(re.escape(word) for word in re.split(r"\s+", piece)) for piece in pieces]
    # The shortest match: a value ends where the next constant begins.
    between = [f"(?P<v{index}>.*?)" if index < count else ".*?" for index in range(len(pieces) - 1)]
    middle = "".join(part for pair in zip(constant, [*between, ""], strict=True) for part in pair)
    return rf"(?s)^\s*{middle}" + (r"\s*$" if whole else "")


def _variable(index: int, pieces: Sequence[str], column: pa.ChunkedArray, values: int) -> pb.PatternVariable:
    # All are counted and the first are listed: a cut before the count would give wrong frequencies.
    counted = column.value_counts()
    table = pa.table({"value": counted.field("values"), "count": counted.field("counts")})
    top = table.sort_by([("count", "descending"), ("value", "ascending")]).slice(0, values)
    return pb.PatternVariable(
        index=index,
        place=MASK.join(pieces[: index + 1]) + _HERE + MASK.join(pieces[index + 1 :]),
        distinct_count=table.num_rows,
        values=[pb.VariableValue(**row) for row in top.to_pylist()],
    )
