"""A request that is ready to be sent."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

Request = TypeVar("Request")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Call(Generic[Request]):
    """A request and its deadline, ready to be sent."""

    request: Request
    timeout: float | None


def choice(name: str, value: str, choices: Mapping[str, Value]) -> Value:
    """The number of the contract for a word of ours.

    Raises:
        ValueError: There is no such word.
    """
    # Before the call: a misspelt word must not go out as the contract's default.
    if value not in choices:
        raise ValueError(f"{name}: {value!r} is none of {', '.join(choices)}")
    return choices[value]
