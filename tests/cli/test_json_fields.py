"""Objects give back what is in them: numbers as written, both of two values of one name."""

import datetime as dt
from typing import Any

import pytest

from treering_formats.fields import Defaults, text_of, to_record
from treering_formats.json_line import json_fields

DEFAULTS = Defaults("s", "e", dt.datetime(2026, 11, 28, tzinfo=dt.UTC))


def attributes(line: str) -> dict[Any, Any]:
    return dict(to_record(json_fields(line), line, DEFAULTS).attributes)


def test_numbers_are_as_they_are_written() -> None:
    line = '{"msg":"m","a":1.10,"b":1e5,"c":12345678901234567890123,"d":-9223372036854775809,"e":[1.50,2,[0.1]],"f":[{"x":1.0}],"g":NaN}'
    expected = {"a": "1.10", "b": "1e5", "c": "12345678901234567890123", "d": "-9223372036854775809", "e": "[1.50, 2, [0.1]]"}
    assert attributes(line) == expected | {"f": '[{"x": 1.0}]', "g": "NaN"}


def test_a_zero_keeps_its_sign() -> None:
    assert attributes('{"msg":"m","a":-0,"b":[-0],"c":-0.0,"d":"2026-11-05"}') == {"a": "-0", "b": "[-0]", "c": "-0.0", "d": "2026-11-05"}


def test_a_number_of_5000_digits_is_kept() -> None:
    digits = "9" * 5_000
    assert attributes(f'{{"msg":"m","a":{digits}}}') == {"a": digits}


@pytest.mark.parametrize(
    "line",
    [
        '{"msg":"m","a":1,"a":2}',
        '{"msg":"m","a" :1,"a":2}',
        '{"msg":"m","a"\t:1,"a":2}',
        '{"msg":":m","x":":","a":1,"a":2}',
        r'{"msg":"say \"a\": b","a":1,"a":2}',
    ],
)
def test_a_key_that_comes_twice_keeps_both_values(line: str) -> None:
    found = attributes(line)
    assert (found["a"], found["treering.duplicate.a"]) == ("2", "1")


def test_a_role_that_comes_twice_keeps_both_values() -> None:
    line = '{"msg":"m","level":"info","level":"error","msg":"n","msg":"o"}'
    record = to_record(json_fields(line), line, DEFAULTS)
    assert (record.message, record.severity) == ("o", 17)
    assert dict(record.attributes) == {"treering.duplicate.level": "info", "treering.duplicate.msg": "m\nn"}


def test_dotted_and_nested_keys_that_meet_both_stay() -> None:
    assert attributes('{"msg":"m","user.id":"flat","user":{"id":"nested"}}') == {"user.id": "nested", "treering.duplicate.user.id": "flat"}
    assert attributes('{"msg":"m","user":{"id":"nested"},"user.id":"flat"}') == {"user.id": "flat", "treering.duplicate.user.id": "nested"}
    assert attributes('{"msg":"m","a":[{"x":1,"x":2}]}') == {"a": '[{"x": 2, "treering.duplicate.x": "1"}]'}


@pytest.mark.parametrize("message", ["", " ", "\\n"])
def test_an_empty_message_keeps_the_record(message: str) -> None:
    line = f'{{"level":"error","msg":"{message}","order":7}}'
    record = to_record(json_fields(line), line, DEFAULTS)
    assert (record.message, record.severity, record.attributes["order"]) == (line, 17, "7")
    other = f'{{"msg":"{message}","event":"login"}}'
    assert to_record(json_fields(other), other, DEFAULTS).message == "login"


def test_a_message_that_is_no_text_can_be_read() -> None:
    for line, expected in (
        ('{"msg":12345}', "12345"),
        ('{"msg":true}', "true"),
        ('{"msg":1.50}', "1.50"),
        ('{"msg":["a"]}', '{"msg":["a"]}'),
        ('{"msg":null}', '{"msg":null}'),
    ):
        assert to_record(json_fields(line), line, DEFAULTS).message == expected


def test_a_null_is_kept_but_under_a_name_with_a_role() -> None:
    assert attributes('{"msg":"m","user":null,"level":null,"a":{"b":null}}') == {"user": "null", "a.b": "null"}


def test_odd_keys_are_kept() -> None:
    assert attributes('{"msg":"m","":1,"a b.c":{"d e":2}," ":3}') == {"": "1", "a b.c.d e": "2", " ": "3"}


def test_nesting_has_a_bound_and_what_is_deeper_is_no_object() -> None:
    assert attributes('{"msg":"m","a":' + "[" * 150 + "]" * 150 + "}") == {"a": "[" * 150 + "]" * 150}
    assert json_fields('{"a":' * 300 + "1" + "}" * 300) is None
    assert json_fields('{"a":' * 100_000) is None
    assert attributes('{"msg":"m","a":"' + "[{" * 300 + '"}') == {"a": "[{" * 300}


def test_tabs_and_other_controls_in_strings_are_taken() -> None:
    assert attributes('{"msg":"m","a":"x\ty"}') == {"a": "x\ty"}


def test_text_of_values() -> None:
    assert [text_of(value) for value in (None, True, 7, "x", [None, True, "é"], {"a": 1})] == [
        *["null", "true", "7", "x", '[null, true, "é"]', '{"a": 1}'],
    ]
