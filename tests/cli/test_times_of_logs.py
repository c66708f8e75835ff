"""Times in the forms of logs: right, or kept as text."""

import datetime as dt
import json
from zoneinfo import ZoneInfo

import pytest

from treering_formats.fields import Defaults, to_record
from treering_formats.json_line import json_fields
from treering_formats.times import TimeReading, any_time, stamp_at, without_year

NOW = dt.datetime(2026, 11, 28, 9, 0, tzinfo=dt.UTC)
READING = TimeReading(NOW)


def nanos(text):
    return int(dt.datetime.fromisoformat(text).timestamp() * 1_000_000) * 1_000


def stamp(text, reading=READING):
    found = stamp_at(text, 0, reading)
    return (found.nanos, text[found.end :], found.text) if found else None


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-20 11:00:00 CET", "2026-11-20T10:00:00Z"),
        ("2026-11-20 11:00:00 EST", "2026-11-20T16:00:00Z"),
        ("2026-11-20 11:00:00 Europe/Berlin", "2026-11-20T10:00:00Z"),
        ("2026-07-20 11:00:00 Europe/Berlin", "2026-07-20T09:00:00Z"),
        ("2026-11-20T11:00:00+01:00[Europe/Berlin]", "2026-11-20T10:00:00Z"),
        ("2026-11-20 11:00:00 +0100", "2026-11-20T10:00:00Z"),
        ("2026-11-20T11:00:00,075+0100", "2026-11-20T10:00:00.075Z"),
        ("2026-11-20 10:00:00+00", "2026-11-20T10:00:00Z"),
        ("2026-11-20 11:00:00 UTC+1", "2026-11-20T10:00:00Z"),
        ("2026-11-20 10:00:00 PM", "2026-11-20T22:00:00Z"),
        ("2026-11-20 10:00 p.m.", "2026-11-20T22:00:00Z"),
        ("2026-11-20 12:00:00 AM", "2026-11-20T00:00:00Z"),
        ("2026-11-20 12:00:00 PM", "2026-11-20T12:00:00Z"),
        ("11/20/2026 3:00:00 PM", "2026-11-20T15:00:00Z"),
        ("20/11/2026 10:00:00", "2026-11-20T10:00:00Z"),
        ("20.11.2026 10:00:00", "2026-11-20T10:00:00Z"),
        ("3.4.2026 10:00:00", "2026-04-03T10:00:00Z"),
        ("Fri, 20 Nov 2026 11:00:00 +0100", "2026-11-20T10:00:00Z"),
        ("Fri, 20 Nov 2026 10:00:00 GMT", "2026-11-20T10:00:00Z"),
        ("Fri Nov 20 10:00:00 2026", "2026-11-20T10:00:00Z"),
        ("Fri Nov 20 11:00:00 CET 2026", "2026-11-20T10:00:00Z"),
        ("Nov 20, 2026 10:00:00 AM", "2026-11-20T10:00:00Z"),
        ("20-Nov-2026 10:00:00", "2026-11-20T10:00:00Z"),
        ("20/Nov/2026:11:00:00 +0100", "2026-11-20T10:00:00Z"),
        ("2026-Nov-20 10:00:00", "2026-11-20T10:00:00Z"),
        ("20 novembre 2026 10:00:00", "2026-11-20T10:00:00Z"),
        ("20. November 2026 10:00:00", "2026-11-20T10:00:00Z"),
        ("20 de noviembre de 2026 10:00:00", "2026-11-20T10:00:00Z"),
        ("vr 20 nov 2026 10:00:00", "2026-11-20T10:00:00Z"),
        ("2026年11月20日 10:00:00", "2026-11-20T10:00:00Z"),
        ("2026年11月20日 下午10:00:00", "2026-11-20T22:00:00Z"),
        ("2026-W47-5T10:00:00Z", "2026-11-20T10:00:00Z"),
        ("2026-324T10:00:00Z", "2026-11-20T10:00:00Z"),
        ("20261120T100000Z", "2026-11-20T10:00:00Z"),
        ("20261120100000", "2026-11-20T10:00:00Z"),
        ("2026-11-20_10:00:00", "2026-11-20T10:00:00Z"),
        ("Friday, November 20, 2026 10:00:00 AM", "2026-11-20T10:00:00Z"),
        ("261120 10:00:00", "2026-11-20T10:00:00Z"),
        ("2026-11-20T10:00Z", "2026-11-20T10:00:00Z"),
        ("2026-11-20 10:00:00:123", "2026-11-20T10:00:00.123Z"),
        ("2016-12-31T23:59:60.5Z", "2017-01-01T00:00:00.5Z"),
        ("1795168800.25", "2026-11-20T10:00:00.25Z"),
    ],
)
def test_forms(text, time):
    assert stamp(text) == (nanos(time), "", "")
    if not text[-3:].startswith("."):
        assert any_time(f" {text} ", READING) == nanos(time)


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("2026-11-20 10:00:00 -12.5 degrees", " -12.5 degrees"),
        ("2026-11-20 10:00:00 -110 whilst", " -110 whilst"),
        ("2026-11-20 10:00:00 GET /", " GET /"),
        ("2026-11-20 10:00:00 XYZ text", " XYZ text"),
        ("2026-11-20 10:00:00: text", ": text"),
    ],
)
def test_what_is_no_zone_stays(text, rest):
    assert stamp(text) == (nanos("2026-11-20T10:00:00Z"), rest, "")


@pytest.mark.parametrize(
    "text", ["2026-11-20-abc", "2026-11-20 10:00:00abc", "2026-11-20T10:00:00-12.5", "1234567890 items", "20261120 files", "May I"]
)
def test_what_only_begins_like_a_time_is_none(text):
    assert stamp(text) is None


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-20 10:00:00 CST", "2026-11-20T16:00:00Z"),
        ("2026-11-20 10:00:00 IST", "2026-11-20T04:30:00Z"),
        ("17/06/09 20:10:40", "2017-06-09T20:10:40Z"),
        ("20/11/26 10:00:00", "2026-11-20T10:00:00Z"),
        ("Tue, 20 Nov 2026 10:00:00 GMT", "2026-11-20T10:00:00Z"),
        ("10:00:00.5", "2026-11-27T10:00:00.5Z"),
        ("08:00:00", "2026-11-28T08:00:00Z"),
        ("10:00PM", "2026-11-27T22:00:00Z"),
        ("1795168800", "2026-11-20T10:00:00Z"),
    ],
)
def test_a_reading_that_is_a_choice_keeps_the_text(text, time):
    assert stamp(text) == (nanos(time), "", text)


@pytest.mark.parametrize(
    "text", ["2026-13-20 10:00:00", "03/04/2026 10:00:00", "2026-11-20 14:00:00 AM", "9999-12-31T23:59:59Z", "2026-02-30T10:00:00Z"]
)
def test_a_time_that_is_not_understood_is_said(text):
    assert stamp(text) == (None, "", text)
    assert any_time(text, READING) is None


def test_the_zone_of_times_without_one():
    berlin = READING._replace(zone=ZoneInfo("Europe/Berlin"))
    assert stamp("2026-11-20 11:00:00", berlin)[0] == nanos("2026-11-20T10:00:00Z")
    assert stamp("2026-07-20T11:00:00.5", berlin)[0] == nanos("2026-07-20T09:00:00.5Z")
    assert stamp("2026-11-20T10:00:00Z", berlin)[0] == nanos("2026-11-20T10:00:00Z")
    assert stamp("2026-10-25 02:30:00", berlin)[0] == nanos("2026-10-25T00:30:00Z")  # the first of two
    assert stamp("Nov 20 11:00:00", berlin)[0] == nanos("2026-11-20T10:00:00Z")


def test_dates_without_a_year_are_the_latest_that_is_not_more_than_a_day_ahead():
    clock = ("10", "00", "00", None)
    assert without_year(11, 29, ("08", "59", "00", None), NOW) == nanos("2026-11-29T08:59:00Z")
    assert without_year(11, 30, clock, NOW) == nanos("2025-11-30T10:00:00Z")
    assert without_year(2, 29, clock, NOW) == nanos("2024-02-29T10:00:00Z")
    assert without_year(1, 1, ("00", "00", "00", None), dt.datetime(2026, 12, 31, 12, tzinfo=dt.UTC)) == nanos("2027-01-01T00:00:00Z")
    assert stamp("Feb 29 10:00:00")[0] == nanos("2024-02-29T10:00:00Z")


@pytest.mark.parametrize("value", [0.123, 12, 1_500, 250_000, 86_400, "00:01:30", "0.123s", "12:30:00", 0, -5, True, "1.5", 99_999_999_999])
def test_a_duration_that_is_called_time_is_none(value):
    assert any_time(value, READING) is None


def test_the_next_name_counts_where_the_first_is_a_duration():
    line = json.dumps({"msg": "m", "time": 0.123, "ts": "2026-11-20T10:00:00Z"})
    record = to_record(json_fields(line), line, Defaults("s", "e", NOW))
    assert (record.time_unix_nano, dict(record.attributes)) == (nanos("2026-11-20T10:00:00Z"), {"time": "0.123"})


@pytest.mark.parametrize(
    "value", [1_795_168_800, 1_795_168_800_000, 1_795_168_800_000_000, 1_795_168_800_000_000_000, "1795168800.0", "1.7951688e9"]
)
def test_epochs_of_every_unit(value):
    assert any_time(value) == nanos("2026-11-20T10:00:00Z")
