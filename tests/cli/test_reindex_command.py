"""`treering reindex`: what it asks for, what it says on the way, how it ends."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Never

import grpc
import pytest

from tests.cli.conftest import Query, Run
from treering.v1 import embed_pb2 as pb
from treering_cli import reindex as command
from treering_cli.app import run as run_app


def at(phase: str, done: int = 0, model: str = "words", problem: str = "") -> pb.ReindexStatus:
    return pb.ReindexStatus(phase=f"REINDEX_PHASE_{phase}", model=model, done_count=done, total_count=10, problem=problem, reindex_id=3)


def ticking(step: int) -> SimpleNamespace:
    """A clock that moves `step` seconds each time that it is read."""
    seconds = itertools.count(step=step)
    return SimpleNamespace(monotonic=lambda: float(next(seconds)), sleep=lambda _: None)


@pytest.fixture
def said(run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs `treering reindex` as the process does, without pauses; gives its exit code and both its outputs."""
    monkeypatch.setattr(command, "_POLL_S", 0.0)

    def invoke(*args: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["treering", "reindex", *args])
        code = run_app()
        return code, *capsys.readouterr()

    return invoke


def test_it_waits_and_says_how_far_it_is(said: Callable[..., tuple[int, str, str]], services: Query) -> None:
    services.embed.course = [at("PREPARING"), at("EMBEDDING", 1), at("EMBEDDING", 1), at("DONE", 10)]
    code, out, err = said()
    assert (code, services.embed.asked) == (0, [""])
    assert err.splitlines() == ["preparing 0 of 10 patterns, model words", "embedding 1 of 10 patterns, model words"]
    assert out.startswith("done 10 of 10 patterns, model words, ")
    assert out.endswith(" s\n")


def test_progress_is_said_now_and_then(said: Callable[..., tuple[int, str, str]], services: Query, monkeypatch: pytest.MonkeyPatch) -> None:
    services.embed.course = [*(at("EMBEDDING", number) for number in range(1, 8)), at("DONE", 10)]
    monkeypatch.setattr(command, "time", ticking(1))
    _, _, err = said()
    spoken = [int(line.split()[1]) for line in err.splitlines()]
    assert spoken[0] == 1
    assert spoken == sorted(spoken)
    assert 1 < len(spoken) < 7


def test_json_is_one_object_on_standard_output(said: Callable[..., tuple[int, str, str]], services: Query) -> None:
    services.embed.course = [at("EMBEDDING", 4), at("DONE", 10)]
    code, out, err = said("--json")
    answer = json.loads(out)
    assert code == 0
    assert answer.pop("seconds") >= 0
    assert answer == {"reindex_id": "3", "phase": "done", "model": "words", "done_count": 10, "total_count": 10, "problem": ""}
    assert err == "embedding 4 of 10 patterns, model words\n"


def test_without_waiting_it_only_begins(said: Callable[..., tuple[int, str, str]], services: Query) -> None:
    services.embed.course = [at("EMBEDDING")]
    begun = {"reindex_id": "3", "phase": "preparing", "model": "in use", "done_count": 0, "total_count": 10, "problem": ""}
    code, out, err = said("--no-wait", "--json")
    assert (code, json.loads(out), err) == (0, begun, "")
    assert said("--no-wait") == (0, "preparing 0 of 10 patterns, model in use\n", "")
    assert len(services.embed.course) == 1


def test_model_is_a_name_or_a_path_that_the_service_can_read(
    said: Callable[..., tuple[int, str, str]], services: Query, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    said("--no-wait", "--model", "all-MiniLM-L6-v2")
    said("--no-wait", "--model", "mine")
    assert services.embed.asked == ["all-MiniLM-L6-v2", str(tmp_path / "mine")]


def test_failure_is_a_refusal_with_its_reason(said: Callable[..., tuple[int, str, str]], services: Query) -> None:
    services.embed.course = [at("EMBEDDING", 4), at("FAILED", 4, problem="the disk is full")]
    code, out, err = said("--json")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == "treering: the index was not made anew: the disk is full"


@pytest.mark.parametrize(
    ("model", "words"), [("nonsense", "model: there is no model nonsense"), ("late", "a reindex runs: 3 of 10 patterns")]
)
def test_what_the_service_refuses_ends_with_1(said: Callable[..., tuple[int, str, str]], model: str, words: str) -> None:
    assert said("--model", model) == (1, "", f"treering: {words}\n")


def test_waiting_outlives_a_restart(said: Callable[..., tuple[int, str, str]], services: Query) -> None:
    away = grpc.StatusCode.UNAVAILABLE
    services.embed.course = [at("EMBEDDING", 4), away, None, away, at("EMBEDDING", 5), at("DONE", 10)]
    code, out, _ = said()
    assert (code, out.split(",")[0]) == (0, "done 10 of 10 patterns")
    assert services.embed.course == []


def test_waiting_outlives_a_busy_machine(said: Callable[..., tuple[int, str, str]], services: Query) -> None:
    busy = grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED
    services.embed.course = [at("EMBEDDING", 4), *busy, at("DONE", 10)]
    code, out, _ = said()
    assert (code, out.split(",")[0]) == (0, "done 10 of 10 patterns")


def test_service_that_stays_away_is_given_up(
    said: Callable[..., tuple[int, str, str]], services: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.embed.course = [at("EMBEDDING", 4), *[None] * 1000]
    monkeypatch.setattr(command, "time", ticking(10))
    code, out, err = said()
    assert (code, out) == (1, "")
    assert "does not answer any more; once it does, it goes on with the work: treering status" in err


def test_other_errors_are_not_waited_out(said: Callable[..., tuple[int, str, str]], services: Query) -> None:
    services.embed.course = [at("EMBEDDING", 4), grpc.StatusCode.INTERNAL]
    code, out, err = said()
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 2


@pytest.mark.parametrize("arguments", [("--wait=maybe",), ("--nonsense",), ("extra",), ("--model",)])
def test_wrong_use_exits_with_2(said: Callable[..., tuple[int, str, str]], services: Query, arguments: tuple[str]) -> None:
    code, out, err = said(*arguments)
    assert (code, out) == (2, "")
    assert "Error" in err
    assert services.embed.asked == []


def test_what_a_service_calls_its_model_cannot_move_the_cursor(said: Callable[..., tuple[int, str, str]], services: Query) -> None:
    services.embed.course = [at("DONE", 10, model="\x1b[2J")]
    assert "\x1b" not in said()[1]


def test_cancel_gives_up_the_one_that_runs_and_waits_until_it_has_stopped(
    said: Callable[..., tuple[int, str, str]], services: Query
) -> None:
    services.embed.course = [at("EMBEDDING", 4), at("EMBEDDING", 4, problem="it is being cancelled"), at("CANCELLED", 4)]
    code, out, _ = said("--cancel")
    assert (code, services.embed.asked, services.embed.cancelled) == (0, [], [None])
    assert out.startswith("cancelled 4 of 10 patterns, model words, ")


def test_a_cancel_that_came_too_late_is_a_refusal(said: Callable[..., tuple[int, str, str]], services: Query) -> None:
    services.embed.course = [at("EMBEDDING", 9), at("DONE", 10)]
    code, out, err = said("--cancel")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == "treering: it was too late to cancel: done 10 of 10 patterns, model words"


def test_there_is_nothing_to_cancel(said: Callable[..., tuple[int, str, str]]) -> None:
    assert said("--cancel") == (1, "", "treering: no reindex runs\n")


@pytest.mark.parametrize("more", [("--model", "x"), ("--request-id", "x")])
def test_cancel_takes_nothing_of_an_order(said: Callable[..., tuple[int, str, str]], services: Query, more: tuple[str, str]) -> None:
    assert said("--cancel", *more)[0] == 2
    assert services.embed.cancelled == []


def test_one_that_somebody_else_cancelled_is_a_refusal(said: Callable[..., tuple[int, str, str]], services: Query) -> None:
    services.embed.course = [at("EMBEDDING", 4), at("CANCELLED", 4)]
    code, out, err = said("--request-id", "mine")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == "treering: the reindex was cancelled; the index that was there goes on answering"


def test_ctrl_c_leaves_it_running_and_says_so(
    said: Callable[..., tuple[int, str, str]], services: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.embed.course = [at("EMBEDDING", 4)] * 3

    def interrupted(_: object) -> Never:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=interrupted))
    code, out, err = said()
    assert (code, out, services.embed.cancelled) == (130, "", [])
    assert "the reindex goes on; `treering status` says how far it is, `treering reindex --cancel` gives it up" in err
