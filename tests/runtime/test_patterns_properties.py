"""The columns against a twin that masks one message at a time, character by character."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from treering_runtime.limits import MAX_PATTERN_TEXT_CHARACTERS
from treering_runtime.patterns import find_patterns, pattern_id
from treering_runtime.patterns.fine import mask_fine

SEPARATORS = set(" \t\n\r\f\v\"'(){}[]<>,;=|")
ODD = st.sampled_from(
    ["\x85", "\xa0", "\u2028", "\u3000", "\x1c", "\x00", "٣", "²", "İ", "é", "e\u0301", "🙂", "\U000e0001", "ß", "\u200b"]
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
    ]
)
messages = st.lists(ODD | ordinary | st.characters(exclude_categories=["Cs"]), max_size=60).map("".join)
services = st.sampled_from(["", "web", "db"])


def coarse_twin(message):
    """Masks each token that holds an ASCII digit: from its first character that is no colon, or its first digit, to its clause end."""
    head = message[:MAX_PATTERN_TEXT_CHARACTERS]
    if len(message) > MAX_PATTERN_TEXT_CHARACTERS:
        cut = len(head)
        while cut and head[cut - 1] not in SEPARATORS:
            cut -= 1
        head = head[:cut] if cut else head
    pieces, token = [], ""
    for character in [*head, None]:
        if character is None or character in SEPARATORS:
            pieces += [token_twin(token), character or ""]
            token = ""
        else:
            token += character
    return "".join(pieces)


def token_twin(token):
    if not any("0" <= character <= "9" for character in token):
        return token
    body = token.lstrip(":")
    tail = body[len(body.rstrip(".:!?")) :]
    return token[: len(token) - len(body)] + "<*>" + tail


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
