r"""Conditions as people write them: `status!=200`, `duration_ms>=500`, `path~=^/api`, `severity>=error`, `user_id`.

    KEY OPERATOR VALUE      the attribute's value is like this
    KEY                     the attribute is there
    !KEY                    it is not

    =  !=                   is the text, is another one (or missing)
    <  <=  >=  >            is a number in this order to another; what is no number is in none
    *=  ^=  ~=              contains a text, begins with it, has a part that matches an expression of RE2; upper and lower case alike
    !*=  !^=  !~=           does not (or is missing)

Blanks around key, operator and value do not count. A key or a value in double quotes is taken as it is, with \" and \\ in it. These keys
are fields of every record, unless they are quoted: service, environment, severity, message, trace_id, pattern_id, template_id.
"""

import re
from dataclasses import dataclass

_OPERATOR = re.compile(r"![~*^]?=|[~*^<>]=|[=<>]")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_MISTAKEN = re.compile(r"[=~]|[<>]\s*[-+.\d]*$")
"""What stands behind `=` when another operator was meant."""

_OPERATORS = "=, !=, <, <=, >=, >, *= (contains), ^= (begins with), ~= (matches)"


class ConditionError(ValueError):
    """A condition cannot be read.

    Attributes:
        text: The condition.
        position: Where in it the mistake is: characters, from 1.
    """

    def __init__(self, text: str, place: int, problem: str) -> None:
        super().__init__(f"{text!r}, position {place + 1}: {problem}")
        self.text = text
        self.position = place + 1
        self.problem = problem


@dataclass(frozen=True)
class Condition:
    """A condition that was read, before it is known what its key stands for."""

    text: str
    key: str
    operator: str
    """Empty: the key is there."""
    value: str
    negated: bool = False
    is_field: bool = True
    """Whether the key may be that of a field of every record: it was not quoted."""
    key_at: int = 0
    operator_at: int = 0
    value_at: int = 0

    def error(self, place: int, problem: str) -> ConditionError:
        """A mistake at a place of the text."""
        return ConditionError(self.text, place, problem)


def parse_condition(text: str) -> Condition:
    """A condition as it is written.

    Raises:
        ConditionError: It is none.
    """
    start = len(text) - len(text.lstrip())
    # `!` before anything but an operator turns the presence of a key round.
    absent = text.startswith("!", start) and not _OPERATOR.match(text, start)
    key_at = start + absent
    quoted = _QUOTED.match(text, key_at)
    found = _OPERATOR.search(text, quoted.end() if quoted else key_at)
    key_end = found.start() if found else len(text)
    key = _unquoted(quoted) if quoted else text[key_at:key_end].strip()
    _check_key(text, key, key_at, (quoted.end(), key_end) if quoted else None)
    if absent and found:
        raise ConditionError(text, found.start(), f"`!` before a key says that it is missing; write {key}!= to compare it")
    if not found:
        return Condition(text, key, "", "", absent, quoted is None, key_at, key_end, len(text))
    value, value_at = _value(text, found)
    operator = found[0].removeprefix("!")
    return Condition(text, key, operator, value, operator != found[0], quoted is None, key_at, found.start(), value_at)


def _check_key(text: str, key: str, key_at: int, behind: tuple[int, int] | None) -> None:
    if not key:
        raise ConditionError(text, key_at, "no key; write KEY=VALUE, or KEY alone for records that have it")
    if behind and (rest := text[slice(*behind)]).strip():
        raise ConditionError(text, behind[0] + len(rest) - len(rest.lstrip()), f"no operator; they are {_OPERATORS}")
    if not behind and (blank := re.search(r"\s", key)):
        place = text.index(key, key_at) + blank.end()
        raise ConditionError(text, place, f"no operator; they are {_OPERATORS}; a key with blanks stands in double quotes")


def _value(text: str, operator: "re.Match[str]") -> tuple[str, int]:
    rest = text[operator.end() :]
    place = operator.end() + len(rest) - len(rest.lstrip())
    if text.startswith('"', place):
        quoted = _QUOTED.match(text, place)
        if not quoted:
            raise ConditionError(text, place, 'the quote has no end; write \\" for a quote that is a part of the value')
        if behind := text[quoted.end() :].strip():
            raise ConditionError(text, text.index(behind, quoted.end()), 'behind the end of the quote; write \\" for a quote in the value')
        return _unquoted(quoted), place
    if operator[0] == "=" and _MISTAKEN.match(text, place):
        raise ConditionError(text, operator.start(), f"no operator of these: {_OPERATORS}; a value that begins so stands in double quotes")
    return text[place:].rstrip(), place


def _unquoted(quoted: "re.Match[str]") -> str:
    return re.sub(r"\\(.)", r"\1", quoted[1], flags=re.DOTALL)
