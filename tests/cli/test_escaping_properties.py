import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from treering.cli.chart import WIDTH, bar
from treering.cli.escaping import escape, escape_lines, to_json
from treering.cli.output import rfc3339
from treering.cli.parse.times import any_time

HOSTILE = st.text(st.characters(codec="utf-8") | st.sampled_from("\x1b\x07\x9b\x7f\u202e\u2066\u2028\r\n\t"), max_size=50)
BIDIRECTIONAL = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def is_safe(text, allowed=""):
    return all(
        character in allowed or (unicodedata.category(character) != "Cc" and unicodedata.bidirectional(character) not in BIDIRECTIONAL)
        for character in text
    )


@given(HOSTILE)
def test_nothing_that_is_shown_controls_a_terminal(text):
    assert is_safe(escape(text))
    assert is_safe(escape_lines(text), "\n\t")
    assert is_safe(to_json({"text": text}))


@given(HOSTILE)
def test_json_is_exact(text):
    assert json.loads(to_json({"text": text})) == {"text": text}


def test_plain_text_stays_as_it_is():
    assert escape("grüße \\ 赤 😀") == "grüße \\ 赤 😀"
    assert escape("\x1b[31m\r\n") == "\\x1b[31m\\r\\n"


@given(st.integers(1, 2**63 - 1))
def test_times_read_back(nanos):
    assert any_time(rfc3339(nanos)) == nanos


@given(st.floats(0, 1e12), st.floats(0, 1e12))
def test_bars_fit(value, largest):
    assert len(bar(min(value, largest), largest)) <= WIDTH
    assert bool(bar(value, max(value, largest))) == (value > 0)
