"""Conditions on the command line: what they become, how a mistake is shown, and keys that no record has."""

from types import SimpleNamespace
from typing import Any, Never

import pytest

from tests.cli.conftest import Query, Run
from treering import any_of, log_filter, none_of
from treering.errors import UnavailableError
from treering.v1.log_pb2 import LogFilter, TextCondition
from treering_cli import near_keys


def test_options_become_one_filter(run: Run, services: Query) -> None:
    options = ["--where", "status!=200", "--where", "duration_ms>=500", "--where", "path", "--where", "severity>=error"]
    options += ["--contains", "one", "--contains", "two", "--not-contains", "health", "--phrase", "timed out", "--not-phrase", "user 7"]
    options += ["--matches", "time.?out", "--not-matches", "^GET"]
    result = run("aggregate", *options)
    assert result.exit_code == 0, result.stderr
    assert services.requests[0].filter == log_filter(
        where=["status!=200", "duration_ms>=500", "path"],
        min_severity="error",
        contains=["one", "two"],
        not_contains="health",
        phrase="timed out",
        not_phrase="user 7",
        matches="time.?out",
        not_matches="^GET",
    )
    assert services.requests[0].filter.none_of[0] == LogFilter(message=[TextCondition(contains="health")])


def test_one_of_several_conditions_is_enough_with_any(run: Run, services: Query) -> None:
    run("aggregate", "--service", "s", "--any", "status>=500", "--any", "severity>=error")
    either = any_of(log_filter(where=["status>=500"]), log_filter(min_severity="error"))
    assert services.requests[0].filter == LogFilter(services=["s"], all_of=[either])


@pytest.mark.parametrize(
    ("option", "condition", "problem"),
    [
        ("--where", "status==200", "position 7: no operator of these: =, !=, <"),
        ("--where", "duration_ms>=fast", "position 14: no number"),
        ("--any", "severity>=loud", "position 11: 'loud' is no severity"),
        ("--where", "日本 200", "position 4: no operator"),
    ],
)
def test_a_mistake_is_shown_at_its_place(
    run: Run, services: Query, monkeypatch: pytest.MonkeyPatch, option: str, condition: str, problem: str
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    result = run("search", "x", option, condition)
    assert (result.exit_code, services.requests) == (2, [])
    assert problem in result.stderr
    lines = result.stderr.splitlines()
    (place,) = [number for number, line in enumerate(lines) if line.strip() == "^"]
    shown, caret = lines[place - 1], lines[place]
    assert shown.strip() == condition
    # a character of an Asian script takes two columns
    assert caret.index("^") - shown.index(condition) == {"日本 200": 5}.get(
        condition, int(problem.split(":", maxsplit=1)[0].split()[1]) - 1
    )


def test_a_comparison_takes_conditions_on_both_sides(run: Run, services: Query) -> None:
    run("compare", "--where", "status>=500", "--where", "region=eu", "--against", "status<500")
    (request,) = services.requests
    expected = [log_filter(where=["region=eu", "status>=500"]), log_filter(where=["status<500", "region=eu"])]
    for side, wanted in zip((request.filter, request.baseline), expected, strict=True):
        assert sorted(map(str, side.attributes)) == sorted(map(str, wanted.attributes))


class Fields:
    """A client of a store whose records have some attributes."""

    def __init__(self, *keys: str, more: str = "") -> None:
        self.keys = keys
        self.more = more
        self.asked = []

    def list_fields(self, **fields: Any) -> SimpleNamespace:
        self.asked.append(fields)
        refs = [SimpleNamespace(field=SimpleNamespace(attribute=key)) for key in ("", *self.keys)]
        return SimpleNamespace(fields=refs, next_page_token=self.more)


@pytest.mark.parametrize(
    ("conditions", "hints"),
    [
        (["status=200"], []),
        (["statsu=200"], ["treering: no record that was looked at has the attribute 'statsu'; near: status"]),
        (["Durationms>5"], ["treering: no record that was looked at has the attribute 'Durationms'; near: duration_ms"]),
        (["zzz", "service!=a"], ["treering: no record that was looked at has the attribute 'zzz'"]),
    ],
)
def test_a_key_that_no_record_has_is_named_with_near_ones(
    capsys: pytest.CaptureFixture[str], conditions: list[str], hints: list[str]
) -> None:
    client = Fields("status", "duration_ms", "http.status")
    near_keys.hint(client, none_of(log_filter(where=conditions)))
    assert capsys.readouterr().err.splitlines() == hints


def test_no_hint_where_nothing_is_known_or_nothing_was_asked(capsys: pytest.CaptureFixture[str]) -> None:
    client = Fields("status", more="token")
    near_keys.hint(client, log_filter(where="statsu"))
    near_keys.hint(client, log_filter(services=["a"]))
    assert len(client.asked) == 1

    def away(**_: object) -> Never:
        raise UnavailableError("away")

    near_keys.hint(SimpleNamespace(list_fields=away), log_filter(where="statsu"))
    assert capsys.readouterr().err == ""


def test_keys_are_looked_for_in_the_time_and_the_services_of_the_question() -> None:
    client = Fields("status")
    near_keys.hint(client, log_filter(since=5, until=9, services=["a"], environments=["e"], where="x", contains="y"))
    assert client.asked[0]["filter"] == LogFilter(start_time_unix_nano=5, end_time_unix_nano=9, services=["a"], environments=["e"])
