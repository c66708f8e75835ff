import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treering import log_filter, severity_name, severity_number
from treering.times import time_nanos


@given(st.integers(0, 24))
def test_severity_names_read_back(number: int) -> None:
    assert number == 0 or severity_number(severity_name(number)) == number


@pytest.mark.parametrize(("word", "number"), [("Warning", 13), ("err", 17), ("CRITICAL", 18), ("notice", 10), ("error3", 19), ("9", 9)])
def test_common_words(word: str, number: int) -> None:
    assert severity_number(word) == number


@pytest.mark.parametrize("value", ["loud", "", "25", 25, -1, "²"])
def test_no_severity(value: str | int) -> None:
    with pytest.raises(ValueError, match="severity"):
        severity_number(value)


def test_times_are_exact() -> None:
    moment = dt.datetime(2026, 11, 23, 19, 0, 0, 123456, tzinfo=dt.timezone(dt.timedelta(hours=1)))
    assert time_nanos(moment) == 1_795_456_800_123_456_000
    assert time_nanos(5) == 5
    assert time_nanos(1.5) == 1_500_000_000


@pytest.mark.parametrize("value", [dt.datetime(2026, 1, 1), -1, 2**63 - 1, 2**63, dt.datetime(1969, 1, 1, tzinfo=dt.UTC)])  # noqa: DTZ001
def test_no_time(value: dt.datetime | int) -> None:
    with pytest.raises(ValueError, match="time"):
        time_nanos(value)


@pytest.mark.parametrize("name", ["since", "until"])
def test_a_time_that_no_record_can_have_is_refused_by_its_name(name: str) -> None:
    assert log_filter(**{name: 2**63 - 2})
    with pytest.raises(ValueError, match=f"{name} 9223372036854775807 is outside 1970-01-01 to 2262-04-11"):
        log_filter(**{name: 2**63 - 1})


@pytest.mark.parametrize("trace", ["xyz", "abcd", b"1"])
def test_no_trace_id(trace: str | bytes) -> None:
    with pytest.raises(ValueError, match="trace id"):
        log_filter(trace_id=trace)
