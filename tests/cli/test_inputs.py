"""What `treering send` reads: packed files, directories, patterns, pipes of every kind, other encodings."""

import bz2
import gzip
import io
import json
import lzma
import os
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import typer

from tests.cli.conftest import Query, Run
from tests.patience import PATIENCE_S
from treering.v1.log_pb2 import LogRecord
from treering_cli.choosing import Choice, Choosing
from treering_cli.file_names import family, service_of
from treering_cli.line_buffer import LineBuffer

TEXT = b"".join(b"2026-11-20T10:00:00Z INFO line %d\n" % number for number in range(3))
MESSAGES = [f"line {number}" for number in range(3)]
PACKERS = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: pa.Codec("zstd").compress(data, asbytes=True),
}


def messages(services: Query) -> list[Any]:
    return [record.message for record in services._ingest.records]


@pytest.mark.parametrize("suffix", PACKERS)
def test_packed_files_are_read_also_in_several_parts(run: Run, services: Query, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"app.log.1.{suffix}"
    file.write_bytes(PACKERS[suffix](TEXT[:50]) + PACKERS[suffix](TEXT[50:]))
    assert run("send", file).exit_code == 0
    assert messages(services) == MESSAGES
    assert {record.service for record in services._ingest.records} == {"app"}


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_damaged_packed_file_gives_what_is_before_the_damage(run: Run, services: Query, tmp_path: Path, suffix: str) -> None:
    file, good = tmp_path / f"app.log.{suffix}", tmp_path / "good.log"
    file.write_bytes(PACKERS[suffix](TEXT) + PACKERS[suffix](os.urandom(300_000).hex().encode())[:-9])
    good.write_bytes(TEXT)
    result = run("send", file, good)
    assert result.exit_code == 1
    assert Counter(messages(services))["line 0"] == 2
    assert "damaged or end early" in result.stderr
    assert "damaged" in json.loads(result.stdout)["files"][0]["problem"]


def test_a_directory_is_read_with_what_is_text_in_it(run: Run, services: Query, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    (logs / "deep" / ".git").mkdir(parents=True)
    (logs / "data").mkdir()
    (logs / "data" / "up.lock").touch()
    (logs / "data" / "own.log").write_text("own\n")
    (logs / "b.log").write_text("b\n")
    (logs / "deep" / "a.log.gz").write_bytes(gzip.compress(b"a\n"))
    (logs / "deep" / ".git" / "c.log").write_text("hidden\n")
    (logs / "wtmp").write_bytes(bytes(range(32)) * 40)
    result = run("send", logs)
    assert (result.exit_code, messages(services)) == (0, ["b", "a"])
    assert "wtmp: this is a binary file" in " ".join(result.stderr.split())


def test_a_pattern_selects_files(run: Run, services: Query, tmp_path: Path) -> None:
    for name in ("a.log", "b.log", "c.txt"):
        (tmp_path / name).write_text(f"{name}\n")
    assert run("send", f"{tmp_path}/*.log").exit_code == 0
    assert messages(services) == ["a.log", "b.log"]
    assert run("send", f"{tmp_path}/*.gz").exit_code == 2


def test_a_file_with_the_name_of_a_pattern_is_meant_itself(run: Run, services: Query, tmp_path: Path) -> None:
    (tmp_path / "a[1].log").write_text("itself\n")
    assert run("send", tmp_path / "a[1].log").exit_code == 0
    assert messages(services) == ["itself"]


@pytest.mark.parametrize("name", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("suffix", ["", "gz"])
def test_utf_16_with_its_mark_is_read(run: Run, services: Query, tmp_path: Path, name: str, suffix: str) -> None:
    file = tmp_path / f"app.log{suffix and '.'}{suffix}"
    data = "\ufeffgrün Ċ\r\nzwei 😀\r\n".encode(name)
    file.write_bytes(gzip.compress(data) if suffix else data)
    assert run("send", file).exit_code == 0
    assert messages(services) == ["grün Ċ", "zwei 😀"]


def test_another_encoding_is_named(run: Run, services: Query, tmp_path: Path) -> None:
    file = tmp_path / "app.log"
    file.write_bytes("エラー\n".encode("shift_jis"))
    assert run("send", file, "--encoding", "shift_jis").exit_code == 0
    assert messages(services) == ["エラー"]
    assert run("send", file, "--encoding", "klingon").exit_code == 2
    assert run("send", file, "--encoding", "base64").exit_code == 2


def test_zero_bytes_of_a_crash_are_left_out_and_counted(run: Run, services: Query, tmp_path: Path) -> None:
    file = tmp_path / "app.log"
    file.write_bytes(b"\0" * 70_000 + TEXT)
    result = run("send", file)
    assert (result.exit_code, messages(services)) == (0, MESSAGES)
    assert "NUL bytes left out: 70,000" in result.stderr


def test_a_named_pipe_is_read_once_from_its_first_byte(run: Run, services: Query, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.log"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(TEXT))
    writer.start()
    assert run("send", pipe).exit_code == 0
    writer.join()
    assert messages(services) == MESSAGES


@pytest.mark.parametrize("packed", [False, True])
def test_a_pipe_by_its_descriptor_is_read(run: Run, services: Query, packed: bool) -> None:
    reading, writing = os.pipe()
    os.write(writing, gzip.compress(TEXT) if packed else TEXT)
    os.close(writing)
    try:
        assert run("send", f"/dev/fd/{reading}").exit_code == 0
    finally:
        os.close(reading)
    assert messages(services) == MESSAGES


def test_a_live_pipe_gives_its_newest_record_while_it_is_open(run: Run, services: Query) -> None:
    reading, writing = os.pipe()
    sending = threading.Thread(target=lambda: run("send", f"/dev/fd/{reading}"))
    sending.start()
    waiting = threading.Event()
    try:
        os.write(writing, b"first\n")
        for _ in range(int(PATIENCE_S * 20)):
            if messages(services):
                break
            waiting.wait(0.05)
        assert messages(services) == ["first"]
        os.write(writing, b"last words\n\tat x\n")
    finally:
        os.close(writing)
        sending.join()
        os.close(reading)
    assert messages(services) == ["first", "last words\n\tat x"]


def test_a_dry_run_shows_how_lines_are_read_and_sends_nothing(run: Run, services: Query, tmp_path: Path) -> None:
    file = tmp_path / "app.log"
    file.write_bytes(TEXT + b'{"msg": "up", "level": "warn", "port": 80}\n')
    result = run("send", "--dry-run", file)
    assert result.stdout.split("\n")[0].split() == ["line", "time", "level", "service", "message", "fields", "format"]
    assert "port=80" in result.stdout
    rows = json.loads(run("send", "--dry-run", "--json", file).stdout)
    assert [(row["line"], row["severity"], row["message"]) for row in rows][2:] == [(3, "INFO", "line 2"), (4, "WARN", "up")]
    assert rows[3]["format"] == "json"
    assert not services._ingest.records


def test_what_is_left_out_is_counted(run: Run, services: Query, tmp_path: Path) -> None:
    file = tmp_path / "app.log"
    file.write_bytes(TEXT)
    result = run("send", file, "--drop", "message~=1$")
    assert messages(services) == ["line 0", "line 2"]
    assert json.loads(result.stdout)["files"][0]["left_out"] == 1
    assert run("send", file, "--drop", "severity<nothing").exit_code == 2


RECORD = LogRecord(severity=9, service="web", message="GET /health took 12 ms", attributes={"status": "200", "path": "/health"})


@pytest.mark.parametrize(
    ("condition", "meets"),
    [
        ("severity<warn", True),
        ("severity=info", True),
        ("severity >= error", False),
        ("service=web", True),
        ("environment", False),
        ("message~=took \\d+", True),
        ("status", True),
        ("user", False),
        ("user!=x", False),
        ("status!=500", True),
        ("status>=500", False),
        ("status<300", True),
        ("path=/health", True),
        ("path<3", False),
    ],
)
def test_conditions(condition: str, meets: bool) -> None:
    assert Choosing(drop=[condition]).choice().takes(RECORD, 1) is not meets


@pytest.mark.parametrize("wrong", ["", "a b", "severity~=x", "severity=loud", "message~=(", "status>=many"])
def test_conditions_that_are_none_are_refused(wrong: str) -> None:
    with pytest.raises(typer.BadParameter, match="--drop"):
        Choosing(drop=[wrong]).choice()


@pytest.mark.parametrize("wrong", ["", "2", "150%", "-1", "x", "0.1:a b"])
def test_shares_that_are_none_are_refused(wrong: str) -> None:
    with pytest.raises(typer.BadParameter, match="--sample"):
        Choosing(sample=[wrong]).choice()


def test_a_sample_is_a_share_and_the_same_each_time() -> None:
    def taken() -> list[Any]:
        choice = Choosing(sample=["10%:severity<warn"]).choice()
        return [place for place in range(5_000) if choice.takes(RECORD, place)]

    assert 400 < len(taken()) < 600
    assert taken() == taken()
    assert Choosing(sample=["0:severity>=warn", "1"]).choice().takes(RECORD, 1)
    assert not Choosing(sample=["0"]).choice().takes(RECORD, 1)
    assert Choice([], []).takes(RECORD, 1)


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("/var/log/app.log", "app"),
        ("app.log.1", "app"),
        ("app.log.12.gz", "app"),
        ("app.log.2026-11-18", "app"),
        ("app.log-20261118.zst", "app"),
        ("app-2026-11-18.log", "app"),
        ("app.2026-11-18_10.log.bz2", "app"),
        ("localhost_access_log.2026-11-18.txt", "localhost_access_log"),
        ("syslog", "syslog"),
        ("syslog.1", "syslog"),
        ("messages-20261118", "messages"),
        ("worker-2.log", "worker-2"),
        ("app.log.old", "app"),
        ("2026-11-18.log", "2026-11-18"),
        (".gz", ".gz"),
    ],
)
def test_the_service_is_what_rotation_leaves_of_a_name(path: str, service: str) -> None:
    assert service_of(path) == service


def test_a_log_and_its_older_parts_are_a_family() -> None:
    assert len({family(f"/d/{name}") for name in ("app.log", "app.log.1", "app.log.2.gz", "app.log-20261118", "app-20261118.log")}) == 1
    assert len({family(name) for name in ("/d/app.log", "/e/app.log", "/d/app.err", "/d/other.log")}) == 4


def test_lines_come_out_of_pieces_of_any_size() -> None:
    data = b"one\n\ntwo\r\n" + b"x" * 25 + b"\nlast"
    for size in range(1, 12):
        lines, stream = LineBuffer(), io.BytesIO(data)
        found = []
        while piece := stream.read(size):
            lines.add(piece)
            while (line := lines.line(10)) is not None:
                found.append(line)
        assert b"".join([*found, lines.rest(10)]) == data
        assert found[:3] == [b"one\n", b"\n", b"two\r\n"]
        assert max(map(len, found)) == 10


def test_a_file_that_has_grown_adds_only_what_is_new_under_the_same_producer_id(run: Run, services: Query, tmp_path: Path) -> None:
    (tmp_path / "treering-data").mkdir()
    file, other = tmp_path / "app.log", tmp_path / "other.log"
    file.write_text("one\ntwo\n")
    other.write_text("else\n")
    run("send", file, other, "--producer-id", "mine")
    for number in range(2):
        with file.open("a") as out:
            out.write(f"new {number}\n")
        answer = json.loads(run("send", file, other, "--producer-id", "mine").stdout)
        assert (answer["accepted"], answer["duplicate"]) == (1, 3 + number)
    assert messages(services) == ["one", "two", "else", "new 0", "new 1"]


def test_sent_files_are_remembered_and_once_sends_only_what_is_new(run: Run, services: Query, tmp_path: Path) -> None:
    (tmp_path / "treering-data").mkdir()
    file = tmp_path / "app.log"
    file.write_bytes(TEXT)
    assert "were sent before" not in run("send", file).stderr
    assert "were sent before" in " ".join(run("send", file).stderr.split())
    file.write_bytes(TEXT + b"2026-11-20T10:00:00Z INFO new\n")
    before = len(messages(services))
    result = run("send", "--once", file)
    assert (result.exit_code, messages(services)[before:]) == (0, ["new"])
    assert json.loads(result.stdout)["accepted"] == 1
    assert run("send", "--once", "-").exit_code == 2
    assert run("send", "--once", file, "--producer-id", "x").exit_code == 2
