"""The columns against a twin that masks one message at a time, character by character."""

import itertools
import time
from random import Random
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.runtime.plain_masking import plain_pattern
from treering_runtime.limits import MAX_PATTERN_TEXT_CHARACTERS
from treering_runtime.patterns import find_patterns, pattern_id
from treering_runtime.patterns.fine import mask_fine

ODD = st.sampled_from(
    [
        "\x85",
        "\xa0",
        "\u2028",
        "\u3000",
        "\x1c",
        "\x00",
        "٣",
        "²",
        "İ",
        "é",
        "e\u0301",
        "🙂",
        "\U000e0001",
        "ß",
        "\u200b",
        "用",
        "ー",
        "각",
        "ไ",
        "\uff1a",
        "\u0e00",
        "\uffef",
        "\u1100",
    ]
)
ordinary = st.sampled_from(
    [
        "a",
        "7",
        "0x1f",
        "user",
        "=",
        "/",
        "\\",
        '"',
        "'",
        "{",
        "}",
        "(",
        ")",
        "<",
        ">",
        "<*>",
        ":",
        ".",
        ",",
        ";",
        "|",
        "-",
        " ",
        "\n",
        "KB",
        "Jul",
        "true",
        "@",
        "face",
        "fa:",
        "é:",
        "count:",
        "_:",
        "http:/",
        "G:\\",
        "\x1b[",
        "m",
        "1;31m",
    ]
)
messages = st.lists(ODD | ordinary | st.characters(exclude_categories=["Cs"]), max_size=60).map("".join)
services = st.sampled_from(["", "web", "db"])


@given(st.lists(st.tuples(services, messages), max_size=30))
def test_columns_agree_with_the_twin(records: list[Any]) -> None:
    found = find_patterns(pa.array([service for service, _ in records], pa.string()), pa.array([text for _, text in records], pa.string()))
    expected = [(service, plain_pattern(text)) for service, text in records]
    assert found.pattern_ids.to_pylist() == [pattern_id(*pair) for pair in expected]
    distinct = list(dict.fromkeys(expected))
    assert list(zip(found.services.to_pylist(), found.texts.to_pylist(), strict=True)) == distinct
    assert found.first_rows.to_pylist() == [expected.index(pair) for pair in distinct]


@settings(deadline=None)
@given(messages, st.integers(1, 60))
def test_a_long_message_agrees_with_the_twin(message: str, times: int) -> None:
    text = (message + "x1 ") * (times * 20)
    found = find_patterns(pa.array(["web"]), pa.array([text]))
    assert found.texts.to_pylist() == [plain_pattern(text)]


@given(st.lists(messages, min_size=1, max_size=20), st.randoms())
def test_a_pattern_does_not_depend_on_the_batch(texts: list[Any], chance: Random) -> None:
    whole = find_patterns(pa.array(["web"] * len(texts)), pa.array(texts)).pattern_ids.to_pylist()
    alone = [find_patterns(pa.array(["web"]), pa.array([text])).pattern_ids.to_pylist()[0] for text in texts]
    assert whole == alone


@given(st.lists(st.sampled_from(["retry", "of", "payment", "was", "refused", "Then", "we", "waited"]), min_size=1, max_size=12))
def test_words_stay_words(words: list[Any]) -> None:
    text = " ".join(words)
    assert find_patterns(pa.array(["web"]), pa.array([text])).texts.to_pylist() == [text]


NASTY = [
    *"aA\"'=/\\{}()<>:., |-_@&?",
    "<*>",
    "x=",
    '"a":',
    "{'a': ",
    ", 'a': ",
    "='",
    "Jan ",
    "a.b",
    "://",
    "=<*>",
    "<*>,",
    "a:",
    '\\"',
    "<*>(",
    "(<*>)",
]


def test_no_form_of_text_takes_long() -> None:
    """Each rule is linear: a quadratic one would take a thousand times as long as an ordinary text, at this length."""

    def cost(unit: str) -> float:
        text = (unit * MAX_PATTERN_TEXT_CHARACTERS)[:MAX_PATTERN_TEXT_CHARACTERS]
        begin = time.process_time()
        mask_fine.__wrapped__(text)
        return time.process_time() - begin

    ordinary = min(cost("an ordinary sentence ") for _ in range(5))
    slow = [unit for pair in itertools.product(NASTY, repeat=2) if cost(unit := "".join(pair)) > 100 * ordinary]
    assert [unit for unit in slow if min(cost(unit) for _ in range(5)) > 100 * ordinary] == []
