"""Whatever is typed or sent, the answer names the problem and the remedy, loses nothing, and is no traceback."""

import json
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.system.conftest import Up

from .conftest import cli

pytestmark = pytest.mark.system


def refused(done: subprocess.CompletedProcess[str], codes: set[Any], *words: str) -> str:
    assert done.returncode in codes, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    told = (done.stderr + done.stdout).lower()
    assert any(word in told for word in words), told
    return told


def test_an_unknown_file_is_named(up: Up, tmp_path: Path) -> None:
    refused(up.run("send", tmp_path / "absent.log"), {2}, "absent.log")


def test_what_is_no_text_in_a_directory_is_named_and_left_out(up: Up, tmp_path: Path) -> None:
    (tmp_path / "image.bin").write_bytes(bytes(range(256)) * 64)
    (tmp_path / "app.log").write_text("fine\n")
    done = up.run("send", tmp_path)
    assert (done.returncode, json.loads(done.stdout)["accepted"]) == (0, 1)
    assert "image.bin: this is a binary file" in done.stderr


def test_a_binary_file_is_refused_or_kept_as_text_but_named(up: Up, tmp_path: Path) -> None:
    file = tmp_path / "image.bin"
    file.write_bytes(bytes(range(256)) * 64)
    refused(up.run("send", file), {1, 2}, "binary")


def test_an_empty_file_sends_nothing(up: Up, tmp_path: Path) -> None:
    file = tmp_path / "empty.log"
    file.touch()
    assert up.json("send", file)["accepted"] == 0


def test_a_line_of_10_mb_is_rejected_alone(up: Up) -> None:
    said = up.run("send", "-", "--service", "long", "--format", "text", "--wait", given="before\n" + "x" * 10_000_000 + "\nafter\n")
    assert "Traceback" not in said.stderr
    assert {row["message"] for row in up.sql("select message from logs where service = 'long' and length(message) < 100")} == {
        "before",
        "after",
    }
    counts = json.loads(said.stdout)
    assert counts["accepted"] + counts["rejected"] == 3


def test_invalid_utf_8_is_kept(up: Up) -> None:
    up.json("send", "-", "--service", "broken", "--format", "text", "--wait", given=b"good\nbad \xff\xfe byte\n")
    messages = [row["message"] for row in up.sql("select message from logs where service = 'broken' order by \"offset\"")]
    assert messages[0] == "good"
    assert messages[1] == "bad ÿþ byte"


def test_an_object_without_message_is_kept_whole(up: Up) -> None:
    given = '{"level": "warn", "answer": 42}\n'
    up.json("send", "-", "--service", "mute", "--format", "jsonl", "--wait", given=given)
    assert up.sql("select message from logs where service = 'mute'") == [{"message": given.strip()}]


@pytest.mark.parametrize(
    ("name", "fields", "wanted"),
    [("severe", {"severity": 99}, "severity"), ("late", {"time": "9999-12-31T23:59:59Z"}, "time")],
)
def test_values_out_of_range_are_kept_as_attributes(up: Up, name: str, fields: dict[str, int] | dict[str, str], wanted: str) -> None:
    up.json("send", "-", "--service", name, "--format", "jsonl", "--wait", given=json.dumps({"message": "m"} | fields) + "\n")
    [row] = up.sql(f"select message, cast(attributes as varchar) a from logs where service = '{name}'")
    assert row["message"] == "m"
    assert str(fields[wanted])[:4] in row["a"]


@pytest.mark.parametrize("command", [["send", "-"], ["search", "x"], ["sql", "select 1"], ["status"], ["tail"]])
def test_an_unreachable_server_is_named(command: list[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = cli(*command, given="line\n", TREERING_INGEST=address, TREERING_EMBED=address, TREERING_QUERY=address)
    refused(done, {1}, address)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("selec 1", ["syntax", "parser"]),
        ("select nothing from logs", ["nothing"]),
        ("select 1; select 2", ["single", "one"]),
        ("delete from logs", ["select"]),
        ("drop table logs", ["select"]),
        ("copy logs to 'x.csv'", ["select"]),
        ("attach 'x.db'", ["select"]),
        ("select * from read_csv('/etc/passwd')", ["not allowed", "read_csv", "disabled", "permission"]),
        ("select getenv('HOME')", ["getenv"]),
        ("", ["query", "empty"]),
    ],
)
def test_wrong_and_writing_sql_is_refused(up: Up, query: str, words: list[str]) -> None:
    refused(up.run("sql", query), {1, 2}, *words)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["search", ""], ["text", "empty"]),
        (["search", "   "], ["text", "empty"]),
        (["search", "x", "--limit", "0"], ["limit"]),
        (["search", "x", "--limit", "10000000"], ["limit"]),
        (["search", "x", "--mode", "psychic"], ["mode"]),
        (["search", "x", "--min-severity", "awful"], ["severity"]),
        (["search", "x", "--since", "yesteryear"], ["since", "time"]),
        (["aggregate", "--metric", "beauty"], ["metric"]),
        (["context", "999999999"], ["999999999", "no record"]),
        (["nonsense"], ["nonsense"]),
    ],
)
def test_wrong_options_are_refused(up: Up, command: list[str], words: list[str]) -> None:
    refused(up.run(*command), {1, 2}, *words)


def test_control_characters_do_not_reach_the_terminal(up: Up) -> None:
    up.json("send", "-", "--service", "evil", "--format", "jsonl", "--wait", given=json.dumps({"message": "red \x1b[31malert\x07"}) + "\n")
    shown = up.run("search", "red alert", "--service", "evil", "--flat").stdout
    assert "alert" in shown
    assert "\x1b[31m" not in shown
    assert "\x07" not in shown
