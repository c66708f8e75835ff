"""`treering send` says what became of the records however it ends: away services, a busy machine, Ctrl-C, input that is no text."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Never

import grpc
import pytest
from typing_extensions import Buffer

from tests.cli.conftest import Query, Run
from tests.sdk.conftest import Serving
from treering import upload_core
from treering.errors import NameResolutionError
from treering.v1 import ingest_pb2_grpc
from treering.v1.log_pb2 import LogRecord
from treering_cli import app as app_module
from treering_cli import visibility
from treering_cli.send_progress import SendProgress
from treering_formats.records import RecordReader

BUSY = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE)


def main(monkeypatch: pytest.MonkeyPatch, *args: str | Path, stdin: "Interrupted | io.BytesIO | None" = None) -> tuple[int, Any, str]:
    """The exit code, what was answered, and what was said beside it."""
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr("sys.argv", ["treering", *map(str, args)])
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(stdin or io.BytesIO())))
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr("sys.stderr", err)
    code = app_module.run()
    return code, json.loads(out.getvalue()), err.getvalue()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.log"
    path.write_text("one\ntwo\n")
    return path


@pytest.fixture
def late(services: Query, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[str]]]:
    """An address of ingest where a service answers only once `send` has said that none does; what it said."""
    serving = Serving(lambda server: ingest_pb2_grpc.add_IngestServiceServicer_to_server(services._ingest, server))
    serving.stop()
    said = []

    def start(progress: SendProgress, text: str) -> None:
        said.append(text)
        serving.start()

    monkeypatch.setattr(SendProgress, "say", start)
    yield serving.endpoints.ingest, said
    serving.stop()


def test_a_send_that_begins_while_ingest_is_away_tries_and_says_so(
    run: Run, services: Query, file: Path, late: tuple[str, list[str]]
) -> None:
    address, said = late
    result = run("send", file, "--ingest", address, "--retry-for", "40")
    assert (result.exit_code, json.loads(result.stdout)["stored"]) == (0, 2)
    assert said in [[f"treering: ingest at {address} does not answer yet; trying for {left} s"] for left in range(30, 40)]
    assert [record.message for record in services._ingest.records] == ["one", "two"]


def test_a_send_that_gives_up_says_what_may_not_be_stored(run: Run, monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    code, counts, err = main(monkeypatch, "send", file, "--ingest", "127.0.0.1:1", "--retry-for", "0")
    assert (code, counts["stored"], counts["pending"], counts["visible"]) == (1, 0, 2, None)
    assert "0 of 2 records read are stored for certain; send the same files again with --producer-id" in err
    assert "nobody answers at 127.0.0.1:1" in err


def test_a_host_that_has_no_name_is_not_waited_for(run: Run, monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    monkeypatch.setattr(upload_core, "from_call", lambda *_: NameResolutionError("nobody answers at nowhere (Domain name not found)"))
    code, counts, err = main(monkeypatch, "send", file, "--ingest", "127.0.0.1:1", "--retry-for", "3600")
    assert (code, counts["stored"]) == (1, 0)
    assert "nowhere" in err
    assert "trying for" not in err


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.1:99999"])
def test_an_invalid_address_is_refused_at_once(run: Run, file: Path, address: str) -> None:
    result = run("send", file, "--ingest", address)
    assert result.exit_code == 2
    assert f"invalid address '{address}'" in result.stderr


def test_wait_goes_on_whatever_a_busy_sink_answers(run: Run, services: Query, file: Path) -> None:
    services.faults.extend(BUSY)
    result = run("send", file, "--wait")
    assert (result.exit_code, json.loads(result.stdout)["visible"]) == (0, True)
    assert not services.faults


def test_wait_says_now_and_then_what_is_not_visible_yet(run: Run, services: Query, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visibility, "_SAY_EVERY_S", 0.0)
    result = run("send", file, "--wait")
    assert "everything is stored, not all of it is visible yet: query is at offset 0 of 2" in result.stderr


def test_wait_that_takes_too_long_says_what_is_stored_and_what_is_not_visible(
    run: Run, monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    code, counts, err = main(monkeypatch, "send", file, "--wait", "--wait-timeout", "0.2", "--embed", "127.0.0.1:1")
    assert code == 1
    assert ([each["records"] for each in counts.pop("files")], counts.pop("redacted")) == ([2], {})
    assert counts == {"accepted": 2, "duplicate": 0, "rejected": 0, "end_offset": 2, "stored": 2, "pending": 0, "visible": False}
    assert "everything is stored, 2 records" in err
    assert "not visible after 0.2 s: " in err
    assert "embed gives no answer (nobody answers at 127.0.0.1:1" in err
    assert "nothing needs to be sent again" in err


class Interrupted(io.RawIOBase):
    """A pipe that has two lines; then comes Ctrl-C."""

    def __init__(self) -> None:
        self._parts = [b"one\ntwo\n"]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        if not self._parts:
            raise KeyboardInterrupt
        part = self._parts.pop()
        buffer[: len(part)] = part
        return len(part)


def test_ctrl_c_sends_what_came_through_a_pipe(run: Run, services: Query, monkeypatch: pytest.MonkeyPatch) -> None:
    code, counts, err = main(monkeypatch, "send", "-", stdin=Interrupted())
    assert code == 130
    assert counts["stored"] == 2
    assert [record.message for record in services._ingest.records] == ["one", "two"]
    assert "2 of 2 records read are stored for certain" in err


def test_ctrl_c_while_waiting_says_that_everything_is_stored(run: Run, monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    def interrupt(*_: object) -> Never:
        raise KeyboardInterrupt

    monkeypatch.setattr(visibility, "wait_visible", interrupt)
    code, counts, err = main(monkeypatch, "send", file, "--wait")
    assert (code, counts["stored"], counts["visible"]) == (130, 2, False)
    assert "everything is stored, 2 records" in err


def test_files_are_sent_although_standard_input_is_no_text(run: Run, services: Query, monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    code, counts, err = main(monkeypatch, "send", file, "-", stdin=io.BytesIO(b"\x00\x01\x02"))
    assert (code, counts["stored"]) == (2, 2)
    assert "binary" in err
    assert [record.message for record in services._ingest.records] == ["one", "two"]


def test_ctrl_c_leaves_a_files_last_batch_as_a_repeat_makes_it(
    run: Run, services: Query, monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    records = RecordReader.__iter__

    def interrupted(reader: RecordReader) -> Iterator[tuple[int, LogRecord]]:
        yield next(records(reader))
        raise KeyboardInterrupt

    monkeypatch.setattr(RecordReader, "__iter__", interrupted)
    code, counts, err = main(monkeypatch, "send", file)
    assert (code, counts["stored"], counts["pending"]) == (130, 0, 1)
    assert not services._ingest.records
    assert "send the same files again with --producer-id" in err
