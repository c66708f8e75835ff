import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from treering_cli.chart import WIDTH, bar
from treering_cli.escaping import escape, escape_lines, to_json
from treering_cli.output import rfc3339
from treering_formats.times import any_time

UNSEEN = (
    "\u00ad\u034f\u115f\u1160\u17b4\u180b\u180e\u200b\u200c\u200d\u2060\u2062\u2065\u2800\u3164\ufe0f\ufeff\uffa0\ufff0\ufff9\ufffb"
    "\U0001d159\U0001d173\U000e0000\U000e0001\U000e007f\U000e0100\U000e0fff"
)
"""Characters without ink, of each kind that Unicode has."""
HOSTILE = st.text(st.characters(codec="utf-8") | st.sampled_from("\x1b\x07\x9b\x7f\u202e\u2066\u2028\r\n\t" + UNSEEN), max_size=50)
BIDIRECTIONAL = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def is_safe(text: str, allowed: str = "") -> bool:
    return all(
        character in allowed
        or (
            unicodedata.category(character) not in {"Cc", "Cf", "Zl", "Zp"}
            and unicodedata.bidirectional(character) not in BIDIRECTIONAL
            and character not in UNSEEN
        )
        for character in text
    )


@given(HOSTILE)
def test_nothing_that_is_shown_controls_a_terminal(text: str) -> None:
    assert is_safe(escape(text))
    assert is_safe(escape_lines(text), "\n\t")
    assert is_safe(to_json({"text": text}))


def test_every_formatting_character_of_unicode_is_shown() -> None:
    formatting = "".join(chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) == "Cf")
    assert is_safe(escape(formatting + UNSEEN))
    assert is_safe(to_json(formatting + UNSEEN))
    assert json.loads(to_json(formatting + UNSEEN)) == formatting + UNSEEN


def test_two_names_that_look_alike_are_shown_as_different_ones() -> None:
    assert [escape(f"pay{mark}ments") for mark in ("", "\u200b", "\U000e0041")] == ["payments", "pay\\u200bments", "pay\\U000e0041ments"]


@given(HOSTILE)
def test_json_is_exact(text: str) -> None:
    assert json.loads(to_json({"text": text})) == {"text": text}


def test_plain_text_stays_as_it_is() -> None:
    assert escape("grüße \\ 赤 😀") == "grüße \\ 赤 😀"
    assert escape("\x1b[31m\r\n") == "\\x1b[31m\\r\\n"


@given(st.integers(1, 2**63 - 2))
def test_times_read_back(nanos: int) -> None:
    assert any_time(rfc3339(nanos)) == nanos


@given(st.floats(0, 1e12), st.floats(0, 1e12))
def test_bars_fit(value: float, largest: float) -> None:
    assert len(bar(min(value, largest), largest)) <= WIDTH
    assert bool(bar(value, max(value, largest))) == (value > 0)
