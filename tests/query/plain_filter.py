"""What a filter selects, by the contract's words: one record after the other, slowly."""

import math
import re
from dataclasses import dataclass, field
from functools import lru_cache
from unicodedata import category

from treering.v1.log_pb2 import AttributeFilter, LogFilter, LogRecord, NumberRange, TextCondition


@dataclass(frozen=True)
class Placed:
    """A record with what the store adds to it."""

    record: LogRecord
    log_id: int
    offset: int
    arrival: int
    pattern_id: int = 0
    template_id: int = 0
    about: frozenset[str] = field(default_factory=frozenset)
    """The texts that its pattern is about."""


def selects(chosen: LogFilter, placed: Placed) -> bool:
    record = placed.record
    severity_wanted = chosen.min_severity or chosen.max_severity
    return all(
        [
            record.time_unix_nano >= chosen.start_time_unix_nano,
            not chosen.end_time_unix_nano or record.time_unix_nano < chosen.end_time_unix_nano,
            placed.arrival >= chosen.arrival_start_time_unix_nano,
            not chosen.arrival_end_time_unix_nano or placed.arrival < chosen.arrival_end_time_unix_nano,
            not severity_wanted or record.severity >= max(chosen.min_severity, 1),
            not chosen.max_severity or record.severity <= chosen.max_severity,
            not chosen.services or record.service in chosen.services,
            not chosen.environments or record.environment in chosen.environments,
            all(attribute_holds(each, record) for each in chosen.attributes),
            lowered(chosen.message_contains) in lowered(record.message),
            all(text_holds(each, record.message) for each in chosen.message),
            not chosen.trace_id or record.trace_id == chosen.trace_id,
            not chosen.positions or any((each.log_id, each.offset) == (placed.log_id, placed.offset) for each in chosen.positions),
            not chosen.ranges
            or any(
                each.log_id == placed.log_id and each.first_offset <= placed.offset < each.end_offset_exclusive for each in chosen.ranges
            ),
            not chosen.pattern_ids or placed.pattern_id in chosen.pattern_ids,
            not chosen.template_ids or placed.template_id in chosen.template_ids,
            not chosen.about or chosen.about in placed.about,
            all(selects(each, placed) for each in chosen.all_of),
            not chosen.any_of or any(selects(each, placed) for each in chosen.any_of),
            not any(selects(each, placed) for each in chosen.none_of),
        ]
    )


def attribute_holds(wanted: AttributeFilter, record: LogRecord) -> bool:
    value = record.attributes.get(wanted.key)
    holds = value is not None and all(
        [
            not wanted.values or value in wanted.values,
            all(text_holds(each, value) for each in wanted.text),
            not wanted.HasField("number") or number_holds(wanted.number, value),
        ]
    )
    return holds != wanted.exclude


def number_holds(wanted: NumberRange, value: str) -> bool:
    try:
        number = float(value) if value.isascii() else math.nan
    except ValueError:
        return False
    return math.isfinite(number) and all(
        [
            not wanted.HasField("at_least") or number >= wanted.at_least,
            not wanted.HasField("above") or number > wanted.above,
            not wanted.HasField("at_most") or number <= wanted.at_most,
            not wanted.HasField("below") or number < wanted.below,
        ]
    )


def text_holds(wanted: TextCondition, text: str) -> bool:
    name = wanted.WhichOneof("condition")
    value = getattr(wanted, name)
    if name == "matches":
        # As RE2 means it: the ten digits of ASCII alone, and the end of the text alone.
        expression = value.replace(r"\d", "[0-9]").replace("$", r"\Z")
        return re.search(expression, text, 0 if wanted.case_sensitive else re.IGNORECASE) is not None
    if not wanted.case_sensitive:
        text, value = lowered(text), lowered(value)
    return {  # type: ignore[no-untyped-call]
        "contains": lambda: value in text,
        "prefix": lambda: text.startswith(value),
        "equals": lambda: text == value,
        "word": lambda: value in words(text),
        "phrase": lambda: any(words(text)[start : start + len(words(value))] == words(value) for start in range(len(words(text)))),
    }[name]()


@lru_cache(10_000)  # the same few texts are compared with many conditions
def words(text: str) -> list[str]:
    found, word = [], ""
    for letter in text:
        if category(letter)[0] not in "PSZC":
            word += letter
        else:
            found, word = [*found, word], ""
    return [each for each in [*found, word] if each]


@lru_cache(10_000)
def lowered(text: str) -> str:
    """By Unicode's simple mapping: a letter for a letter, whatever stands around it. Only one letter has a longer one in Python."""
    return "".join("i" if letter == "\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}" else letter.lower() for letter in text)
