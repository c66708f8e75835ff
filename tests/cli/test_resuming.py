"""Streams go on where they were, and give up in time."""

from collections.abc import Iterator, Sequence
from itertools import count, islice

import pytest

from treering.errors import NotFoundError, OverloadedError, TimedOutError, UnavailableError
from treering.v1.log_pb2 import Position
from treering.v1.query_pb2 import TailLogsResponse
from treering_cli import resuming as module
from treering_cli.resuming import resuming


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """No test waits: a pause only moves the clock."""
    now = [0.0]

    def pause(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(module.time, "sleep", pause)
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def answers(start: Sequence[Position], failure: UnavailableError | NotFoundError | None) -> Iterator[TailLogsResponse]:
    """Two answers from where it is told to begin, then the connection is lost, or ends."""
    begin = start[0].offset if start else 0
    for offset in (begin + 1, begin + 2):
        yield TailLogsResponse(resume_from=[Position(log_id=7, offset=offset)])
    if failure:
        raise failure


@pytest.mark.parametrize("failure", [UnavailableError("gone"), None])
def test_it_goes_on_where_it_was(failure: UnavailableError | None) -> None:
    found = islice(resuming(lambda start: answers(start, failure), "here", 60), 7)
    assert [each.resume_from[0].offset for each in found] == [1, 2, 3, 4, 5, 6, 7]


def test_a_service_that_never_answered_is_called_once() -> None:
    calls = count()

    def refused(start: Sequence[Position]) -> None:
        next(calls)
        raise UnavailableError("nobody")

    with pytest.raises(UnavailableError, match="nobody"):
        next(resuming(refused, "here", 60))
    assert next(calls) == 1


def test_a_service_that_is_full_when_it_is_back_is_asked_again() -> None:
    faults = [OverloadedError("full"), TimedOutError("late")]

    def busy(start: Sequence[Position]) -> Iterator[TailLogsResponse]:
        if start and faults:
            raise faults.pop()
        yield from answers(start, UnavailableError("gone"))

    assert [each.resume_from[0].offset for each in islice(resuming(busy, "here", 60), 4)] == [1, 2, 3, 4]
    assert not faults


def test_a_service_that_stays_away_is_given_up(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    def once(start: Sequence[Position]) -> Iterator[TailLogsResponse]:
        if start:
            raise UnavailableError("still gone")
        yield TailLogsResponse(resume_from=[Position(log_id=7, offset=1)])

    with pytest.raises(UnavailableError):
        list(resuming(once, "here", 60))
    assert 60 < clock[0] <= 60 + 2  # the longest pause
    [said] = capsys.readouterr().err.splitlines()
    assert said.startswith("treering: still gone; trying for 5")


def test_other_errors_end_it() -> None:
    with pytest.raises(NotFoundError):
        list(resuming(lambda start: answers(start, NotFoundError("no such")), "here", 60))
