"""Regular expressions of callers: refused where RE2 refuses them, and where their programs would be large."""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

import duckdb

from treering_query import limits
from treering_runtime.errors import invalid_field

_OF_UNICODE = 600
"""Steps of a class of Unicode, such as any letter: it takes 600 times as long to build as a letter (measured), one of a script 40 times."""

_OF_MANY = 4
"""Steps of what matches characters beyond ASCII: they are several bytes."""

_PARTS = re.compile(
    r"""(?P<repeat>\{(?P<least>\d+)(?:,(?P<most>\d*))?\}) | (?P<open>\((?:\?P?[^):>]*[:>])?) | (?P<close>\))
    | (?P<class>\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\] | \\[pP](?:\{[^}]*\}|.)) | (?:\\Q.*?(?:\\E|$) | \\x\{[0-9A-Fa-f]+\} | \\. | .)""",
    re.DOTALL | re.VERBOSE,
)


def check(expressions: Mapping[str, str]) -> None:
    """Checks the expressions of one filter, by the path of their field.

    Raises:
        ServiceError: INVALID_FIELD for one that is none, with RE2's own words, or whose program would be large beside those before it.
    """
    steps = 0
    for field, expression in expressions.items():
        steps += program_steps(expression)
        # Before it is compiled: RE2 works on a large one for a tenth of a second before it says so, and keeps a thread as long as it runs.
        if steps > limits.MAX_EXPRESSION_STEPS:
            words = f"expressions of about {steps} steps in one tree, over {limits.MAX_EXPRESSION_STEPS}"
            problem = f"{words}; repeat less, and do without classes of Unicode (\\p)"
            raise invalid_field(field, problem, limit=limits.MAX_EXPRESSION_STEPS)
    for (field, _), problem in zip(expressions.items(), _problems(tuple(expressions.values())), strict=True):
        if problem:
            raise invalid_field(field, f"no regular expression of RE2: {problem}; see https://github.com/google/re2/wiki/Syntax")


@lru_cache(64)  # a stream or a chart asks with the same ones again and again
def _problems(expressions: tuple[str, ...]) -> tuple[str, ...]:
    """What RE2 says against each of some expressions; empty for those that it takes."""
    # The database's own RE2 decides: others know a syntax more or less.
    return tuple(map(_problem, expressions))


def _problem(expression: str) -> str:
    try:
        _database().cursor().execute("select regexp_matches('', $1)", [expression]).fetchall()
    except duckdb.InvalidInputException as error:
        return str(error).removeprefix("Invalid Input Error: ").strip()
    return ""


@lru_cache(1)  # opening it takes 10 ms, ten times as long as asking it
def _database() -> duckdb.DuckDBPyConnection:
    """A database for nothing but expressions, without threads of its own."""
    return duckdb.connect(":memory:", config={"threads": 1})


def program_steps(expression: str) -> int:
    """How large the program of an expression is, about, in letters: what is repeated by a number counts as often.

    Of what RE2 does not take, the number means nothing.
    """
    # For each group that is open: what it has so far, and its last part, which a repetition multiplies.
    whole, last = [0], [0]
    for kind, steps in _parts(expression):
        if kind == "open":
            whole, last = [*whole, 0], [*last, 0]
        elif kind == "repeat":
            whole[-1] += last[-1] * (steps - 1)
            last[-1] *= steps
        else:
            inside = 0
            if kind == "close" and len(whole) > 1:
                inside = whole.pop()
                last.pop()
            whole[-1] += steps + inside
            last[-1] = steps + inside
    return sum(whole)


def _parts(expression: str) -> Iterator[tuple[str, int]]:
    """The parts of an expression: groups, repetitions with their number, and everything else as one letter or more."""
    for part in _PARTS.finditer(expression):
        if part["repeat"]:
            # `{3,}` is three and one that repeats.
            yield "repeat", max(int(part["most"] or part["least"]) + (part["most"] == ""), 1)
        elif part["open"] or part["close"]:
            yield ("open" if part["open"] else "close"), 1
        elif text := part["class"]:
            beyond = text.startswith("[^") or not text.isascii()
            # A class may name several of Unicode.
            yield "letter", max(_OF_UNICODE * text.lower().count("\\p"), _OF_MANY if beyond else 2)
        else:
            yield "letter", _OF_MANY if part[0] == "." else len(part[0])
