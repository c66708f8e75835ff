"""The columns against a twin that masks one message at a time, character by character."""

import itertools
import time

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from treering_runtime.limits import MAX_PATTERN_TEXT_CHARACTERS
from treering_runtime.patterns import find_patterns, pattern_id
from treering_runtime.patterns.fine import mask_fine

SEPARATORS = set(" \t\n\r\f\v\"'(){}[]<>,;=|")
LABEL_LETTERS = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
UNSPACED = [
    ("\u0e00", "\u0eff"),
    ("\u1000", "\u109f"),
    ("\u1780", "\u17ff"),
    ("\u2e80", "\u9fff"),
    ("\uac00", "\ud7af"),
    ("\uf900", "\ufaff"),
    ("\uff00", "\uffef"),
]
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


def coarse_twin(message):
    """Cuts, takes out colours, and masks each token that holds an ASCII digit, character by character."""
    pieces, token = [], ""
    for character in [*without_colours(cut_twin(message)), None]:
        if character is None or ends_token(character):
            pieces += [token_twin(token), character or ""]
            token = ""
        else:
            token += character
    return "".join(pieces)


def ends_token(character):
    return character in SEPARATORS or any(first <= character <= last for first, last in UNSPACED)


def cut_twin(message):
    head = message[:MAX_PATTERN_TEXT_CHARACTERS]
    if len(message) == len(head):
        return message
    cut = len(head)
    while cut and not ends_token(head[cut - 1]):
        cut -= 1
    return head[:cut] if cut else head


def without_colours(text):
    kept, at = "", 0
    while at < len(text):
        end = at + 2
        while text.startswith("\x1b[", at) and "0" <= text[end : end + 1] <= "?":
            end += 1
        while text.startswith("\x1b[", at) and " " <= text[end : end + 1] <= "/":
            end += 1
        if text.startswith("\x1b[", at) and "@" <= text[end : end + 1] <= "~":
            at = end + 1
        else:
            kept, at = kept + text[at], at + 1
    return kept


def token_twin(token):
    """Masks from behind the labels, or from the first digit where there is nothing else, to the end of the clause."""
    if not any("0" <= character <= "9" for character in token):
        return token
    start = 0
    while True:
        word = "".join(itertools.takewhile(LABEL_LETTERS.__contains__, token[start:]))
        rest = token[start + len(word) :]
        if not rest.startswith(":") or is_value(word, rest):
            break
        start += len(word) + 1
    body = token[start:]
    return token[:start] + "<*>" + body[len(body.rstrip(".:!?")) :]


def is_value(word, rest):
    """Whether a word before a colon is no label: it may be hexadecimal, or begins an address or a path."""
    return word != "" and (set(word.lower()) <= set("abcdef") or rest[1:2] in {"/", "\\"})


@given(st.lists(st.tuples(services, messages), max_size=30))
def test_columns_agree_with_the_twin(records):
    found = find_patterns(pa.array([service for service, _ in records], pa.string()), pa.array([text for _, text in records], pa.string()))
    expected = [(service, mask_fine.__wrapped__(coarse_twin(text))) for service, text in records]
    assert found.pattern_ids.to_pylist() == [pattern_id(*pair) for pair in expected]
    distinct = list(dict.fromkeys(expected))
    assert list(zip(found.services.to_pylist(), found.texts.to_pylist(), strict=True)) == distinct
    assert found.first_rows.to_pylist() == [expected.index(pair) for pair in distinct]


@given(messages, st.integers(1, 60))
def test_a_long_message_agrees_with_the_twin(message, times):
    text = (message + "x1 ") * (times * 20)
    found = find_patterns(pa.array(["web"]), pa.array([text]))
    assert found.texts.to_pylist() == [mask_fine.__wrapped__(coarse_twin(text))]


@given(st.lists(messages, min_size=1, max_size=20), st.randoms())
def test_a_pattern_does_not_depend_on_the_batch(texts, chance):
    whole = find_patterns(pa.array(["web"] * len(texts)), pa.array(texts)).pattern_ids.to_pylist()
    alone = [find_patterns(pa.array(["web"]), pa.array([text])).pattern_ids.to_pylist()[0] for text in texts]
    assert whole == alone


@given(st.lists(st.sampled_from(["retry", "of", "payment", "was", "refused", "Then", "we", "waited"]), min_size=1, max_size=12))
def test_words_stay_words(words):
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


def test_no_form_of_text_takes_long():
    """Each rule is linear: a quadratic one would take a thousand times as long as an ordinary text, at this length."""

    def cost(unit):
        text = (unit * MAX_PATTERN_TEXT_CHARACTERS)[:MAX_PATTERN_TEXT_CHARACTERS]
        begin = time.process_time()
        mask_fine.__wrapped__(text)
        return time.process_time() - begin

    ordinary = min(cost("an ordinary sentence ") for _ in range(5))
    slow = [unit for pair in itertools.product(NASTY, repeat=2) if cost(unit := "".join(pair)) > 100 * ordinary]
    assert [unit for unit in slow if min(cost(unit) for _ in range(5)) > 100 * ordinary] == []
