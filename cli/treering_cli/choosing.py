"""Which records are sent: `--drop` and `--sample`, each by a condition on the record."""

import operator
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from treering.severity import severity_number

if TYPE_CHECKING:
    from treering.v1.log_pb2 import LogRecord

_SYNTAX = "write KEY, KEY=VALUE, KEY!=VALUE, KEY>=NUMBER or KEY~=EXPRESSION, for example severity<info or 'message~=GET /health'"
_CONDITION = re.compile(r"\s*([\w.@/-]+)\s*(?:(~=|!=|<=|>=|=|<|>)\s*(.*))?", re.DOTALL)
_SHARE = re.compile(r"\s*(\d{1,3}(?:\.\d{1,9})?|\.\d{1,9})\s*(%?)\s*(?::(.*))?", re.DOTALL)
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_FIELDS = ("service", "environment", "message")
_SCALE = 2**32

Condition = Callable[["LogRecord"], bool]


@dataclass(frozen=True)
class Choosing:
    """Options that leave records out."""

    drop: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION", help="Leave such records out: severity<info, 'message~=GET /health', status=200, or the key alone."
        ),
    ] = None
    sample: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SHARE[:CONDITION]", help="Send only this share of such records: 1%, 0.1:severity<=debug. The first one that applies."
        ),
    ] = None

    def choice(self) -> "Choice":
        """What the options say.

        Raises:
            typer.BadParameter: One of them is not understood.
        """
        return Choice([condition("--drop", text) for text in self.drop or []], [_sampled(text) for text in self.sample or []])


class Choice:
    """Decides for each record, and counts.

    The decision on a record depends on the record and its place alone: sent again, the same records are left out.

    Attributes:
        left_out: Records that are not sent.
    """

    def __init__(self, dropped: Sequence[Condition], sampled: Sequence[tuple[float, Condition]]) -> None:
        self._dropped = dropped
        self._sampled = sampled
        self.left_out = 0

    def takes(self, record: "LogRecord", place: int) -> bool:
        """Whether a record is sent; `place` tells it from others of the same words, for example its line's number."""
        if not self._dropped and not self._sampled:
            return True
        taken = not any(meets(record) for meets in self._dropped) and self._is_in_share(record, place)
        self.left_out += not taken
        return taken

    def _is_in_share(self, record: "LogRecord", place: int) -> bool:
        share = next((share for share, meets in self._sampled if meets(record)), 1.0)
        return share >= 1 or zlib.crc32(b"%d %s" % (place, record.message.encode())) < share * _SCALE


def condition(option: str, text: str) -> Condition:
    """What a condition asks of a record. A record without the attribute meets none on it, `!=` included.

    Raises:
        typer.BadParameter: It is not understood.
    """
    match = _CONDITION.fullmatch(text)
    if not match:
        raise typer.BadParameter(f"{option} {text!r} is no condition; {_SYNTAX}")
    key, sign, value = match.groups()
    try:
        return _severity(sign, value) if key == "severity" else _field(key, sign, value)
    except (ValueError, re.error) as error:
        raise typer.BadParameter(f"{option} {text!r}: {error}; {_SYNTAX}") from None


def _severity(sign: str | None, value: str) -> Condition:
    if sign not in _COMPARE:
        raise ValueError("severity is compared with a level")
    compare, level = _COMPARE[sign], severity_number(value.strip())
    return lambda record: compare(record.severity, level)


def _field(key: str, sign: str | None, value: str) -> Condition:
    def read(record: "LogRecord") -> str | None:
        if key in _FIELDS:
            return str(getattr(record, key))
        return record.attributes.get(key)

    if sign is None:
        return lambda record: bool(read(record))
    holds = _text_test(sign, value)
    return lambda record: (actual := read(record)) is not None and holds(actual)


def _text_test(sign: str, value: str) -> Callable[[str], bool]:
    if sign == "~=":
        return lambda actual, found=re.compile(value).search: found(actual) is not None  # type: ignore[misc]
    if sign in {"=", "!="}:
        return lambda actual: (actual == value) is (sign == "=")
    compare, number = _COMPARE[sign], float(value)
    return lambda actual: (known := _number(actual)) is not None and compare(known, number)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _sampled(text: str) -> tuple[float, Condition]:
    match = _SHARE.fullmatch(text)
    share = float(match[1]) / (100 if match[2] else 1) if match else -1
    if not match or not 0 <= share <= 1:
        raise typer.BadParameter(
            f"--sample {text!r} begins with no share; write 1% or 0.01, and behind a colon the condition: 1%:severity<info"
        )
    return share, condition("--sample", match[3]) if match[3] else lambda _: True
