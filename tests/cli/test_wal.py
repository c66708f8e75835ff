import json
from pathlib import Path
from typing import Any, Never

import pytest
from typer.testing import CliRunner, Result

from treering.v1.batch_pb2 import LogBatch
from treering.v1.log_pb2 import LogRecord
from treering_cli.app import app
from treering_cli.problems import Refusal
from treering_ingest.commands import wal as program
from treering_ingest.durable_log import Batch
from treering_ingest.wal import LogConfig, PosixFileSystem, open_log
from treering_ingest.wal.filesystem import File


@pytest.fixture
def log_directory(tmp_path: Path) -> Path:
    path = tmp_path / "data" / "ingest" / "wal"
    path.mkdir(parents=True)
    log = open_log(PosixFileSystem(path), LogConfig(segment_bytes=400))
    for sequence in range(1, 7):
        records = [LogRecord(message=f"evil \x1b[31m {sequence}/{number}", service="s", attributes={"k": "v"}) for number in range(2)]
        payload = LogBatch(records=records, resource={"k": "of all", "host.name": "db-1"}).SerializeToString()
        log.append([Batch(payload, 2, b"me", sequence, sequence, 1_500_000_000_000_000_000)], log.end_offset)
        log.sync()
    log.close()
    return path


def run(*arguments: str | Path | int) -> Result:
    return CliRunner().invoke(app, ["wal", *map(str, arguments)])


def damage(path: Path, segment: int = 0) -> Path:
    file = sorted(path.glob("*.wal"))[segment]
    content = bytearray(file.read_bytes())
    content[-60] ^= 1
    file.write_bytes(content)
    return file


@pytest.mark.parametrize("above", [0, 1, 2])
@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_segments_of_a_sound_log_are_shown(log_directory: Path, command: str, above: int) -> None:
    found = run(command, [log_directory, *log_directory.parents][above])
    assert found.exit_code == 0
    assert "offsets 0 to 12, 12 records" in found.stdout
    assert all(file.name in found.stdout for file in log_directory.glob("*.wal"))
    assert "nothing is wrong" in found.stdout


def test_damage_is_named_in_words_and_as_json_and_ends_with_1(log_directory: Path) -> None:
    file = damage(log_directory)
    found = run("verify", log_directory)
    assert found.exit_code == 1
    assert f"damaged: {file.name}, byte " in found.stdout
    assert "restore what is damaged from a copy" in found.stderr
    found = run("verify", log_directory, "--json")
    assert found.exit_code == 1
    report = json.loads(found.stdout)
    assert not report["is_sound"]
    assert report["problems"][0]["file"] == file.name
    assert report["end_offset"] == 12


def test_a_missing_segment_is_named_with_the_log_that_it_is_missing_in(log_directory: Path) -> None:
    log_id = json.loads(run("verify", log_directory, "--json").stdout)["log_id"]
    sorted(log_directory.glob("*.wal"))[1].unlink()
    found = run("verify", log_directory)
    assert found.exit_code == 1
    assert f"log {log_id} " in found.stdout
    assert "segment 2 of 1 to " in found.stdout


def test_a_torn_tail_is_no_damage(log_directory: Path) -> None:
    with max(log_directory.glob("*.wal")).open("ab") as file:
        file.write(b"TRFR, interrupted")
    found = run("verify", log_directory)
    assert found.exit_code == 0
    assert "torn" in found.stdout


def test_cat_prints_each_record_as_a_line_of_json_from_an_offset_on(log_directory: Path) -> None:
    records = [json.loads(line) for line in run("cat", log_directory).stdout.splitlines()]
    assert [record["offset"] for record in records] == list(range(12))
    assert records[3] == {
        "offset": 3,
        "arrival_time": "2017-07-14T02:40:00Z",
        "producer_id": "me",
        "sequence": 2,
        "time": "",
        "severity": records[3]["severity"],
        "service": "s",
        "environment": "",
        "message": "evil \x1b[31m 2/1",
        "attributes": {"host.name": "db-1", "k": "v"},
        "resource": {"host.name": "db-1", "k": "of all"},
        "trace_id": "",
        "span_id": "",
    }
    some = run("cat", log_directory, "--from", 5, "--limit", 3)
    assert [json.loads(line)["offset"] for line in some.stdout.splitlines()] == [5, 6, 7]
    assert "\x1b" not in some.stdout


def test_cat_prints_what_is_before_damage_and_says_where_it_is(log_directory: Path) -> None:
    file = damage(log_directory, 1)
    found = run("cat", log_directory)
    assert isinstance(found.exception, Refusal)
    assert f"{file.name}, byte " in str(found.exception)
    assert json.loads(found.stdout.splitlines()[0])["offset"] == 0


def deleting(log_directory: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> list[Any]:
    """Opening the segment at an index finds that a running log has just deleted it and those before it."""
    names = sorted(file.name for file in log_directory.glob("*.wal"))
    real, done = PosixFileSystem.open, []

    def open_file(files: PosixFileSystem, name: str, *, writable: bool = False) -> File:
        if name == names[at] and not done:
            done.append(True)
            log = open_log(PosixFileSystem(log_directory))
            log.release(int(names[at + 1].partition("-")[2].partition(".")[0]))
            log.close()
        return real(files, name, writable=writable)

    monkeypatch.setattr(PosixFileSystem, "open", open_file)
    monkeypatch.setattr("treering_cli.wal.answers", lambda *words: program.answers([*map(str, words[2:])]))  # here, where files are ours
    return [int(name.partition("-")[2].partition(".")[0]) for name in names]


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_segments_that_a_running_log_deletes_meanwhile_are_no_damage(
    log_directory: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    starts = deleting(log_directory, monkeypatch, 1)
    found = run(command, log_directory, "--json")
    report = json.loads(found.stdout)
    assert (found.exit_code, report["problems"]) == (0, [])
    assert report["start_offset"] == starts[2] == report["segments"][0]["first_offset"]


def test_cat_goes_on_behind_segments_that_a_running_log_deletes_meanwhile(log_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = deleting(log_directory, monkeypatch, 1)
    found = run("cat", log_directory)
    assert found.exit_code == 0
    assert [json.loads(line)["offset"] for line in found.stdout.splitlines()] == [*range(starts[1]), *range(starts[2], 12)]
    assert f"offsets {starts[1]} to {starts[2] - 1} are not here" in found.stderr


def test_a_directory_without_a_log_is_refused(tmp_path: Path) -> None:
    found = run("inspect", tmp_path)
    assert isinstance(found.exception, Refusal)
    assert "holds no log" in str(found.exception)


def test_without_ingest_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "google_crc32c.py").write_text("""raise ModuleNotFoundError("No module named 'google_crc32c'")""")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = run("inspect", tmp_path)
    assert isinstance(found.exception, Refusal)
    assert 'pip install "treering[ingest]"' in str(found.exception)


def test_a_log_that_may_not_be_read_is_refused_with_a_remedy(
    log_directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(path: Path) -> Never:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.scandir", fail)
    assert program.main(["verify", str(log_directory)]) == 1
    assert "Permission denied; read it as the user that ingest runs as" in capsys.readouterr().err
