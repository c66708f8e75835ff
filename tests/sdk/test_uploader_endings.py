"""How an uploader ends: by `close`, by an exception, by Ctrl-C, with its program; and what is said when something may not be stored."""

import logging
import math
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any, Never

import pytest

from tests.sdk.conftest import FakeIngest, Serving
from tests.sdk.facades import AnyClient, Connect, LoopUploader
from treering import Client, LogRecord, TimedOutError, TreeringError, UnavailableError
from treering.channels import Endpoints
from treering.patience import Patience, log_outage
from treering.uploader import Uploader

from .facades import has_ended, until

SMALL = {"linger_s": math.inf, "max_batch_records": 10}
ALL = [f"record {number}" for number in range(25)]


def fill(uploader: Uploader | LoopUploader, messages: list[Any] | list[str] = ALL) -> None:
    for message in messages:
        uploader.send(LogRecord(message=message))


@pytest.fixture
def blocking(serving: Serving) -> Iterator[Client]:
    with Client(serving.endpoints) as made:
        yield made


def failing(uploader: Uploader | LoopUploader, error: ZeroDivisionError | KeyboardInterrupt | SystemExit) -> None:
    with uploader:
        fill(uploader)
        raise error


@pytest.mark.parametrize("error", [ZeroDivisionError(), KeyboardInterrupt(), SystemExit(3)])
def test_an_exception_goes_on_after_what_was_queued_is_sent(
    client: AnyClient, ingest: FakeIngest, error: ZeroDivisionError | KeyboardInterrupt | SystemExit
) -> None:
    uploader = client.uploader(**SMALL)
    with pytest.raises(type(error)) as caught:
        failing(uploader, error)
    assert caught.value is error
    assert ingest.stored == ALL
    assert uploader.result().pending == 0
    assert not getattr(error, "__notes__", [])


def test_an_exception_goes_on_in_time_and_names_what_may_not_be_stored(connect: Connect, away: Endpoints) -> None:
    with connect(away) as client:
        uploader = client.uploader(**SMALL, drain_for_s=0.2)
        with pytest.raises(ZeroDivisionError) as caught:
            failing(uploader, ZeroDivisionError())
        with pytest.raises(ValueError, match="closed"):
            uploader.send(LogRecord(message="text"))
    [note] = caught.value.__notes__
    assert "25 records were not acknowledged within 0.2 s and may not be stored: nobody answers at 127.0.0.1" in note
    assert uploader.result().pending == 25


def test_without_time_to_drain_the_same_records_can_be_sent_again(client: AnyClient, ingest: FakeIngest) -> None:
    with pytest.raises(ZeroDivisionError):
        failing(client.uploader("mine", **SMALL, drain_for_s=0), ZeroDivisionError())
    with client.uploader("mine", **SMALL) as again:
        fill(again, [*ALL, "one more"])
    assert ingest.stored == [*ALL, "one more"]


def test_ctrl_c_while_the_block_ends_leaves_time_to_drain_and_a_second_one_does_not(
    blocking: Client, ingest: FakeIngest, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest.faults.extend(["silent"] * 100)  # however often it connects again, nothing is acknowledged
    uploader = blocking.uploader(**SMALL, drain_for_s=3600)
    waits, wait = [], uploader._driver._ended.wait

    def interrupted_twice(timeout_s: float) -> bool:
        waits.append((timeout_s, uploader._driver._ended.is_set()))
        if len(waits) <= 2:
            raise KeyboardInterrupt
        return wait(timeout_s)

    monkeypatch.setattr(uploader._driver._ended, "wait", interrupted_twice)

    def end() -> None:
        with uploader:
            fill(uploader)

    with pytest.raises(KeyboardInterrupt):
        end()
    assert waits == [(None, False), (3600, False), (None, False)]
    assert has_ended(uploader)
    assert uploader.result().pending


def test_close_ends_in_time_and_says_what_may_not_be_stored(connect: Connect, away: Endpoints) -> None:
    with connect(away) as client:
        uploader = client.uploader(**SMALL, retry_for_s=5)
        fill(uploader)
        with pytest.raises(TimedOutError, match=r"25 records were not acknowledged within 0\.2 s"):
            uploader.close(timeout=0.2)
        assert uploader.result().pending == 25
        assert has_ended(uploader)


def test_close_within_its_time_is_an_ordinary_one(client: AnyClient, ingest: FakeIngest) -> None:
    uploader = client.uploader(**SMALL)
    fill(uploader)
    result = uploader.close(timeout=30)
    assert (result.accepted, result.pending, ingest.stored) == (25, 0, ALL)
    assert uploader.close(timeout=0) == result


def test_abort_during_the_start_of_a_call_ends_it(blocking: Client, ingest: FakeIngest, monkeypatch: pytest.MonkeyPatch) -> None:
    ingest.faults.append("silent")
    uploader = blocking.uploader(**SMALL, acknowledge_within_s=math.inf)
    created = threading.Event()
    go_on = threading.Event()
    inner = blocking._ingest_channel.stream_stream

    def slow(*arguments: Any) -> Callable[[Any], Any]:
        method = inner(*arguments)

        def call(requests: Any) -> "Any":
            begun = method(requests)
            until(uploader, lambda: uploader._core.state.in_flight)  # type: ignore[return-value]
            created.set()
            assert go_on.wait(30)
            return begun

        return call

    monkeypatch.setattr(blocking._ingest_channel, "stream_stream", slow)
    fill(uploader)
    assert created.wait(30)
    ending = threading.Thread(target=uploader.abort)
    ending.start()
    until(uploader, lambda: uploader._core.aborted)
    go_on.set()
    ending.join(30)
    assert not ending.is_alive()


def test_an_uploader_that_begins_while_ingest_is_away_sends_when_it_is_back(
    connect: Connect, away: Endpoints, serving: Serving, ingest: FakeIngest
) -> None:
    outages = []

    def back(error: BaseException, left_s: Any) -> None:
        outages.append((error, left_s))
        serving.start()

    with connect(away) as client, client.uploader(**SMALL, retry_for_s=30, on_outage=back) as uploader:
        fill(uploader)
    serving.stop()
    assert ingest.stored == ALL
    [(error, left_s)] = outages
    assert isinstance(error, UnavailableError)
    assert 20 < left_s < 30


def test_an_outage_becomes_known_in_the_log_once(caplog: pytest.LogCaptureFixture) -> None:
    patience = Patience(300, log_outage)
    with caplog.at_level(logging.WARNING, "treering"):
        for now in (0.0, 0.5, 1.5, 2.5):
            patience.delay(UnavailableError("nobody answers at x:1"), now)
        assert caplog.messages == ["no logs can be sent: nobody answers at x:1; trying for 298 s"]
        patience.succeeded()
        for now in (10.0, 12.0):
            patience.delay(UnavailableError("gone"), now)
        assert caplog.messages[1:] == ["no logs can be sent: gone; trying for 298 s"]


def test_on_outage_may_end_the_upload(connect: Connect, away: Endpoints) -> None:
    def give_up(error: BaseException, _: object) -> Never:
        raise error

    with connect(away) as client:
        uploader = client.uploader(retry_for_s=3600, on_outage=give_up)
        fill(uploader)
        with pytest.raises(UnavailableError, match="nobody answers"):
            uploader.close()


def test_the_error_of_a_failed_upload_does_not_grow(connect: Connect, away: Endpoints) -> None:
    with connect(away) as client:
        uploader = client.uploader(**SMALL, retry_for_s=0)
        fill(uploader)
        caught = []
        for method in (uploader.close, uploader.flush, *[lambda: uploader.send(LogRecord())] * 50):
            with pytest.raises(TreeringError) as each:
                method()
            caught.append(each.value)
    assert len({id(error) for error in caught}) == len(caught)
    first_send, *_, last_send = (len(traceback.extract_tb(error.__traceback__)) for error in caught[2:])
    assert first_send == last_send
    assert {(type(error), error.message, error.code) for error in caught} == {(UnavailableError, caught[0].message, caught[0].code)}


# The end of the program

FORGETFUL = """
import os, sys
from treering import Client, Endpoints, LogRecord
client = Client(Endpoints(*sys.argv[1:2] * 3))
uploader = client.uploader(linger_s=3600, drain_for_s=float(sys.argv[2]))
for number in range(25):
    uploader.send(LogRecord(message=f"record {number}"))
if sys.argv[3] == "fork" and (child := os.fork()):
    os.waitpid(child, 0)
"""


FORKED = """
import math, os, signal, sys
from treering import Client, Endpoints, LogRecord
uploader = Client(Endpoints(*sys.argv[1:2] * 3)).uploader(linger_s=3600, acknowledge_within_s=math.inf)
uploader.send(LogRecord(message="before"))
uploader.flush()
uploader.send(LogRecord(message="after"))
if child := os.fork():
    assert os.waitpid(child, 0)[1] == 0
else:
    signal.alarm(20)
assert uploader.close(timeout=20).pending == (0 if child else 1)
"""


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), "GRPC_ENABLE_FORK_SUPPORT": "0"}
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=environment)


def forget(endpoints: Endpoints, drain_for_s: float, manner: str) -> subprocess.CompletedProcess[str]:
    return run(FORGETFUL, endpoints.ingest, str(drain_for_s), manner)


@pytest.mark.parametrize("manner", ["end", "fork"])
def test_a_program_that_ends_without_close_has_its_last_records_stored_once(serving: Serving, ingest: FakeIngest, manner: str) -> None:
    assert forget(serving.endpoints, 30, manner).stderr == ""
    assert ingest.stored == ALL
    assert ingest.streams == 1


def test_a_forked_copy_can_be_closed_and_leaves_the_records_to_the_original(serving: Serving, ingest: FakeIngest) -> None:
    run(FORKED, serving.endpoints.ingest)
    assert ingest.stored == ["before", "after"]


def test_a_program_that_ends_without_close_is_not_kept_for_long(away: Endpoints) -> None:
    said = forget(away, 0.3, "end").stderr
    assert "ended without closing its uploader: 25 records were not acknowledged within 0.3 s and may not be stored" in said
