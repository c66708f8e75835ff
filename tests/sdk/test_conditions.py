"""Conditions as people write them, and what they become."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treering import ConditionError, all_of, any_of, log_filter, none_of
from treering.conditions import parse_condition
from treering.v1.log_pb2 import AttributeFilter, LogFilter, NumberRange, TextCondition


def attribute(**fields: str | list[Any] | bool | NumberRange) -> LogFilter:
    return LogFilter(attributes=[AttributeFilter(**fields)])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("status=200", attribute(key="status", values=["200"])),
        ("status = 200 ", attribute(key="status", values=["200"])),
        ("status=", attribute(key="status", values=[""])),
        ("status!=200", attribute(key="status", values=["200"], exclude=True)),
        ("status", attribute(key="status")),
        ("!status", attribute(key="status", exclude=True)),
        ("ms>=500", attribute(key="ms", number=NumberRange(at_least=500))),
        ("ms>5e2", attribute(key="ms", number=NumberRange(above=500))),
        ("ms<=-1.5", attribute(key="ms", number=NumberRange(at_most=-1.5))),
        ("ms < 3", attribute(key="ms", number=NumberRange(below=3))),
        ("path~=^/api", attribute(key="path", text=[TextCondition(matches="^/api")])),
        ("path~==x", attribute(key="path", text=[TextCondition(matches="=x")])),
        ("path!~=^/api", attribute(key="path", text=[TextCondition(matches="^/api")], exclude=True)),
        ("path^=/api", attribute(key="path", text=[TextCondition(prefix="/api")])),
        ("path*=api", attribute(key="path", text=[TextCondition(contains="api")])),
        ("url=https://x/?a=b>c", attribute(key="url", values=["https://x/?a=b>c"])),
        ("tag=<b>", attribute(key="tag", values=["<b>"])),
        ('"my key"!=" a \\"b\\" \\\\"', attribute(key="my key", values=[' a "b" \\'], exclude=True)),
        ('"severity"=high', attribute(key="severity", values=["high"])),
        ("a*b=c", attribute(key="a*b", values=["c"])),
        ("severity>=error", LogFilter(min_severity=17)),
        ("severity>error", LogFilter(min_severity=18)),
        ("severity<=warn", LogFilter(max_severity=13)),
        ("severity<warn", LogFilter(max_severity=12)),
        ("severity=17", LogFilter(min_severity=17, max_severity=17)),
        ("severity!=info", none_of(LogFilter(min_severity=9, max_severity=9))),
        ("severity=0", none_of(LogFilter(min_severity=1))),
        ("severity", LogFilter(min_severity=1)),
        ("!severity", none_of(LogFilter(min_severity=1))),
        ("service=a", LogFilter(services=["a"])),
        ("service!=a", none_of(LogFilter(services=["a"]))),
        ("service", none_of(LogFilter(services=[""]))),
        ("environment!=dev", none_of(LogFilter(environments=["dev"]))),
        ("message*=time out", LogFilter(message=[TextCondition(contains="time out")])),
        ("message!~=a|b", none_of(LogFilter(message=[TextCondition(matches="a|b")]))),
        ("message=ok", LogFilter(message=[TextCondition(equals="ok", case_sensitive=True)])),
        ("trace_id=" + "0a" * 16, LogFilter(trace_id=b"\x0a" * 16)),
        ("pattern_id=18446744073709551615", LogFilter(pattern_ids=[2**64 - 1])),
        ("template_id!=7", none_of(LogFilter(template_ids=[7]))),
    ],
)
def test_a_condition_becomes_its_filter(text: str, expected: LogFilter) -> None:
    assert log_filter(where=text) == expected


@pytest.mark.parametrize(
    ("text", "position", "words"),
    [
        ("", 1, "no key"),
        ("  ", 3, "no key"),
        ("=5", 1, "no key"),
        ("!", 2, "no key"),
        ("status==200", 7, "no operator of these"),
        ("status=~x", 7, "no operator of these"),
        ("status => 500", 8, "no operator of these"),
        ("status 200", 8, "no operator"),
        ('"status" 200', 10, "no operator"),
        ('"a"b=c', 4, "no operator"),
        ("!status=200", 8, "write status!="),
        ("ms>=fast", 5, "no number"),
        ("ms >= nan", 7, "no number"),
        ("ms>=inf", 5, "no number"),
        ("ms<", 4, "no number"),
        ("severity>=loud", 11, "no severity"),
        ("severity>fatal4", 10, "no severity"),
        ("severity<trace", 10, "no severity"),
        ("severity~=err", 9, "compared with =, !="),
        ("service>a", 8, "compared with =, !="),
        ("message", 1, "compared with =, !="),
        ("message>=5", 8, "compared with"),
        ("trace_id=abc", 10, "not hexadecimal"),
        ("trace_id=", 10, "no trace id"),
        ("trace_id", 1, "compared with"),
        ("pattern_id=deadbeef", 12, "no id"),
        ("pattern_id=18446744073709551616", 12, "no id"),
        ('a="b', 3, "no end"),
        ('a="b" c', 7, "behind the end"),
    ],
)
def test_what_is_no_condition_says_where(text: str, position: int, words: str) -> None:
    with pytest.raises(ConditionError, match=words) as caught:
        log_filter(where=[text])
    assert (caught.value.text, caught.value.position) == (text, position)


def test_values_of_one_key_are_alternatives_and_everything_else_must_hold() -> None:
    chosen = log_filter(services=["s"], where=["a=1", "service=t", "a=2", "b!=3", "b!=4", "severity>=info", "severity<=warn"])
    attributes = [
        AttributeFilter(key="b", values=["3"], exclude=True),
        AttributeFilter(key="b", values=["4"], exclude=True),
        AttributeFilter(key="a", values=["1", "2"]),
    ]
    assert chosen == LogFilter(services=["s", "t"], attributes=attributes, min_severity=9, max_severity=13)
    assert log_filter(where=["severity=9", "severity=17"]).any_of[1] == LogFilter(min_severity=17, max_severity=17)


def test_what_is_said_twice_of_one_field_must_hold_twice() -> None:
    chosen = log_filter(min_severity="error", where=["severity>=warn"])
    assert chosen == LogFilter(min_severity=17, all_of=[LogFilter(min_severity=13)])
    chosen = log_filter(where=["message=a", "message=b", "severity=9", "severity=10"])
    assert len(chosen.any_of) == 2
    assert len(chosen.all_of[0].any_of) == 2


def test_an_old_mapping_of_attributes_stays_what_it_was() -> None:
    chosen = log_filter(where={"a": "", "b": ["1", "2"], "c": []})
    assert [(each.key, list(each.values)) for each in chosen.attributes] == [("a", [""]), ("b", ["1", "2"]), ("c", [])]
    assert log_filter(contains="x") == LogFilter(message_contains="x")
    assert log_filter(contains=["x", "y"], not_contains="z").none_of[0].message[0].contains == "z"


def test_filters_are_joined() -> None:
    one, other = log_filter(services=["a"]), log_filter(contains="b")
    assert all_of(one, other) == LogFilter(all_of=[one, other])
    assert any_of(one, other) == LogFilter(any_of=[one, other])
    assert none_of(one) == LogFilter(none_of=[one])
    with pytest.raises(ValueError, match="no filter"):
        any_of()


@given(st.text(), st.text())
def test_any_key_and_value_can_be_quoted(key: str, value: str) -> None:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    if key:
        found = parse_condition(f"{quoted(key)}={quoted(value)}")
        assert (found.key, found.operator, found.value, found.is_field) == (key, "=", value, False)


@given(st.text(alphabet='ab"\\ !=<>~*^0', max_size=12))
def test_whatever_is_written_is_a_condition_or_an_error_with_a_place(text: str) -> None:
    try:
        found = parse_condition(text)
    except ConditionError as error:
        found = error
    assert 1 <= found.position <= len(text) + 1 if isinstance(found, ConditionError) else found.key
