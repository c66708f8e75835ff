import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Never

import pyarrow as pa
import pytest
import typer

from tests.cli.conftest import Query, Run
from treering.v1 import query_pb2
from treering_cli import app as app_module
from treering_cli import status as status_module
from treering_cli.instance import Instance, InstanceLock, running_instance
from treering_cli.problems import Refusal


def test_send_says_what_became_of_the_lines(run: Run, services: Query, tmp_path: Path) -> None:
    file = tmp_path / "shop.jsonl"
    file.write_text('{"message": "a"}\n{"message": "' + "x" * 1_100_000 + '"}\nbroken {\n')
    result = run("send", file, "--wait")
    counts = {"accepted": 2, "duplicate": 0, "rejected": 1, "end_offset": 2}
    answer = json.loads(result.stdout)
    (told,) = answer.pop("files")
    assert answer.pop("redacted") == {}
    assert answer == counts | {"stored": 2, "pending": 0, "visible": True}
    assert (told["file"], told["lines"], told["records"], told["formats"]) == (str(file), 3, 3, {"json": 2, "plain": 1})
    assert (
        f"{file}: 3 lines, 3 records (json 2, plain 1); lines that are no JSON object and were kept as plain messages: 1" in result.stderr
    )
    assert result.exit_code == 1
    assert f"{file}:2: rejected: the record is over 1 MiB" in result.stderr
    assert [record.service for record in services._ingest.records] == ["shop", "shop"]
    assert services.polls > 2


def test_send_reads_standard_input(run: Run, services: Query) -> None:
    result = run("send", "-", "--service", "mine", "--environment", "dev", stdin="hello\n")
    assert json.loads(result.stdout)["accepted"] == 1
    (record,) = services._ingest.records
    assert (record.service, record.environment, record.message) == ("mine", "dev", "hello")


def test_send_shares_what_holds_for_all_records(run: Run, services: Query) -> None:
    result = run("send", "-", "--resource", "host.name=db-1", "--resource", "note=a=b", stdin="hello\n")
    assert result.exit_code == 0
    assert services._ingest.resource == {"host.name": "db-1", "note": "a=b"}


@pytest.mark.parametrize(
    ("given", "words"),
    [(["host"], "'host' is no KEY=VALUE"), (["=x"], "'=x' is no KEY=VALUE"), (["a=1", "a=2"], "names a key twice")],
)
def test_send_says_what_is_wrong_with_a_resource(run: Run, services: Query, given: list[str], words: str) -> None:
    result = run("send", "-", *(word for pair in given for word in ("--resource", pair)), stdin="hello\n")
    assert result.exit_code == 2
    assert words in result.stderr
    assert not services._ingest.records


def test_send_of_an_empty_file_says_so(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "empty.log"
    file.touch()
    result = run("send", file)
    assert (result.exit_code, json.loads(result.stdout)["accepted"]) == (0, 0)
    assert "empty" in result.stderr


def test_send_of_a_line_of_ten_megabytes_names_it(run: Run) -> None:
    result = run("send", "-", stdin="fine\n" + "x" * 10_000_000)
    counts = {"accepted": 1, "duplicate": 0, "rejected": 1, "end_offset": 1, "stored": 1, "pending": 0, "visible": None}
    assert (result.exit_code, {name: value for name, value in json.loads(result.stdout).items() if name not in {"files", "redacted"}}) == (
        1,
        counts,
    )
    assert "-:2: rejected: the record is over 1 MiB" in result.stderr


@pytest.mark.parametrize(("content", "words"), [(None, "no such file"), (b"\x00\x01", "binary"), (b"\x1f\x8b", "gzip")])
def test_send_refuses_what_it_cannot_read_before_it_sends_anything(
    run: Run, services: Query, tmp_path: Path, content: bytes | None, words: str
) -> None:
    good, bad = tmp_path / "good.log", tmp_path / "bad.log"
    good.write_text("fine\n")
    if content is not None:
        bad.write_bytes(content)
    result = run("send", good, bad)
    assert result.exit_code == 2
    assert words in result.stderr
    assert not services._ingest.records


@pytest.mark.parametrize("producer_id", ["", "x" * 129])
def test_send_refuses_a_producer_id_that_is_none(run: Run, services: Query, tmp_path: Path, producer_id: str) -> None:
    file = tmp_path / "a.log"
    file.write_text("fine\n")
    result = run("send", file, "--producer-id", producer_id)
    assert (result.exit_code, "1 to 128 bytes" in result.stderr) == (2, True)
    assert not services._ingest.records


def test_export_into_what_cannot_be_written_says_where_and_what_to_do(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        result = run("export", "--out", out)
        assert isinstance(result.exception, Refusal)
        assert str(tmp_path / "file") in str(result.exception)
        assert "--out" in str(result.exception)


def _commands(command: typer._click.core.Command, path: tuple[Any, ...] = ()) -> Iterator[Any]:
    if hasattr(command, "commands"):
        for name, below in command.commands.items():
            yield from _commands(below, (*path, name))
    else:
        yield pytest.param(command, id=" ".join(path))


@pytest.mark.parametrize("command", [*_commands(typer.main.get_command(app_module.app))])
def test_every_command_takes_json(command: Any) -> None:
    assert "--json" in [option for parameter in command.params for option in parameter.opts]


def test_search_asks_for_records_like_one(run: Run, services: Query) -> None:
    result = run("search", "--like", "0", "--page-token", "abc", "--json")
    assert json.loads(result.stdout)["next_page_token"] == ""
    (request,) = services.requests
    assert request.HasField("like")
    assert (request.like.offset, request.text, request.page_token) == (0, "", "abc")


@pytest.mark.parametrize("arguments", [("disk", "--like", "7"), (), ("  ",), ("--like", "-1"), ("disk", "--page", "0")])
def test_search_wants_a_text_or_a_record(
    run: Run, services: Query, arguments: tuple[str, str, str] | tuple[()] | tuple[str] | tuple[str, str]
) -> None:
    assert run("search", *arguments).exit_code == 2
    assert services.requests == []


def test_search_beyond_the_last_page_is_empty(run: Run, services: Query) -> None:
    result = run("search", "disk", "--page", "3", "--json")
    assert json.loads(result.stdout)["results"] == []
    assert len(services.requests) == 1


def test_search_gives_the_documented_json(run: Run, services: Query) -> None:
    result = run("search", "someone guesses", "--json", "--mode", "semantic", "--since", "15m", "--where", "k=v", "--min-severity", "warn")
    (found,) = json.loads(result.stdout)["results"]
    assert (found["score"], found["pattern"], found["pattern_id"], found["count"]) == (0.5, "evil <*>", "9223372036854775809", 3)
    assert found["why"] == ["meaning"]
    (record,) = found["records"]
    assert record["time"] == "2017-07-14T02:40:00.123456789Z"
    assert (record["offset"], record["severity"], record["message"]) == (7, "ERROR", "evil \x1b[31m\nline")
    assert record["attributes"] == {"k": "v"}
    assert "embed does not answer" in result.stderr
    (request,) = services.requests
    assert request.filter.start_time_unix_nano > 0
    assert (request.filter.min_severity, request.filter.attributes[0].key) == (13, "k")


@pytest.mark.parametrize("command", [("search", "x"), ("tail", "--no-follow"), ("aggregate",)])
def test_where_selects_by_service_and_environment_in_every_command(
    run: Run, services: Query, command: tuple[str, str] | tuple[str]
) -> None:
    run(*command, "--service", "a", "--where", "service=b=c", "--where", "environment=dev", "--where", "region=eu")
    chosen = services.requests[0].filter
    assert (list(chosen.services), list(chosen.environments)) == (["a", "b=c"], ["dev"])
    assert [(each.key, list(each.values)) for each in chosen.attributes] == [("region", ["eu"])]


@pytest.mark.parametrize(
    "command", [("search", "x"), ("patterns",), ("context", "7"), ("tail", "--no-follow"), ("aggregate", "--by", "severity")]
)
def test_what_people_read_holds_no_control_characters(run: Run, command: tuple[str, str] | tuple[str] | tuple[str, str, str]) -> None:
    result = run(*command)
    assert result.exit_code == 0
    assert result.stdout
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize(
    "command",
    [
        ("search", ""),
        ("search", " "),
        ("search", "x", "--limit", "0"),
        ("search", "x", "--limit", "10000000"),
        ("search", "x", "--since", "yesterday"),
        ("search", "x", "--min-severity", "loud"),
        ("search", "x", "--where", "status==200"),
        ("search", "x", "--query", "nowhere"),
        ("aggregate", "--metric", "median:x"),
        ("aggregate", "--bucket", "often"),
        ("aggregate", "--bucket", "0s"),
        ("sql", ""),
        ("sql", "x", "--json", "--format", "csv"),
        ("context", "-1"),
        ("compare", "--only", "odd"),
        ("compare", "--against", "=1"),
        ("compare", "--against", "a=1", "--baseline", "1h"),
        ("compare", "--since", "1h", "--until", "2h"),
        ("compare", "--baseline", "0s"),
        ("nonsense",),
    ],
)
def test_wrong_use_exits_with_2_and_says_why(run: Run, services: Query, command: Any) -> None:
    result = run(*command)
    assert result.exit_code == 2
    assert "Error" in result.stderr
    assert not services.requests


@pytest.mark.parametrize("time", ["9223372036854775807", "2262-04-11T23:47:16.854775807Z", "2300-01-01", "yesterday"])
@pytest.mark.parametrize("option", ["--since", "--until"])
def test_a_time_that_no_record_can_have_is_refused_by_its_option(run: Run, services: Query, option: str, time: str) -> None:
    result = run("search", "x", option, time)
    assert (result.exit_code, services.requests) == (2, [])
    assert f"{option} {time!r}" in " ".join(result.stderr.split())
    assert "2262-04-11" in result.stderr


def test_a_machine_whose_clock_python_cannot_read_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def beyond(*_: object, **__: object) -> Never:
        raise OverflowError("timestamp too large to convert to C _PyTime_t")

    monkeypatch.setattr(app_module, "app", beyond)
    assert app_module.run() == 1
    assert "set it right" in capsys.readouterr().err


def test_sql_formats(run: Run) -> None:
    row = {"t": "2017-07-14T02:40:00.123456789Z", "id": "9223372036854775809", "b": "01ff", "m": {"k": "v\x9b"}, "n": None}
    assert json.loads(run("sql", "select 1", "--format", "json").stdout) == [row]
    assert json.loads(run("sql", "select 1", "--json").stdout) == [row]
    header, line = run("sql", "-", "--format", "csv", stdin="select 1").stdout.splitlines()
    assert header == "t,id,b,m,n"
    assert line.startswith("2017-07-14T02:40:00.123456789Z,9223372036854775809,01ff,")
    assert pa.ipc.open_stream(run("sql", "select 1", "--format", "arrow").stdout_bytes).read_all().num_rows == 1
    assert "\x9b" not in run("sql", "select 1").stdout


def test_aggregate_gives_severities_as_words(run: Run) -> None:
    result = run("aggregate", "--by", "severity,region", "--metric", "p95:ms", "--json")
    assert json.loads(result.stdout) == [
        {"severity": "ERROR", "region": None, "p95:ms": 10},
        {"severity": "ERROR", "region": None, "p95:ms": 2.5},
    ]
    assert "█" in run("aggregate", "--by", "severity").stdout


def test_aggregate_groups_by_every_by(run: Run, services: Query) -> None:
    run("aggregate", "--by", "service,region", "--by", "about:slow, very slow", "--by", "about:lost", "--json")
    assert [each.WhichOneof("field_kind") for each in services.requests[-1].group_by] == ["field", "attribute", "about", "about"]


def test_aggregate_is_ordered_as_asked_for(run: Run, services: Query) -> None:
    for order in ("bucket", "largest", "smallest", "group"):
        assert run("aggregate", "--by", "service", "--order", order).exit_code == 0
    assert [request.order for request in services.requests] == [
        query_pb2.AGGREGATE_ORDER_BUCKET,
        query_pb2.AGGREGATE_ORDER_VALUE_DESCENDING,
        query_pb2.AGGREGATE_ORDER_VALUE_ASCENDING,
        query_pb2.AGGREGATE_ORDER_GROUP,
    ]


@pytest.mark.parametrize("by", ["service", "severity"])
def test_buckets_of_a_time_zone_are_shown_in_it(run: Run, by: str) -> None:
    command = ("aggregate", "--by", by, "--bucket", "1h", "--time-zone")
    assert "1970-01-01T01:00:00+01:00" in run(*command, "Europe/Warsaw").stdout
    assert "+" not in run(*command, "nowhere").stdout


def test_tail_patterns_context_status_in_json(run: Run, services: Query) -> None:
    assert json.loads(run("tail", "--no-follow", "--json", "-n", "5").stdout)["offset"] == 7
    assert json.loads(run("patterns", "--json").stdout)[0]["count_by_severity"] == {"ERROR": 3}
    assert json.loads(run("context", "7", "--json", "--before", "0").stdout)["index"] == 0
    assert services.requests[-1].before == 0
    assert services.requests[-1].HasField("after")
    status = json.loads(run("status", "--json").stdout)
    assert [status[name]["ok"] for name in ("ingest", "embed", "query")] == [True, True, True]
    assert status["ingest"]["log_id"] == str(0xABC)


def test_status_says_that_a_sink_is_gone_and_holds_nothing_for_good(run: Run) -> None:
    expected = "name query, connected no, last error refused, next offset 5, visible end offset 0, releasable end offset 0, is ahead no, "
    expected += "is refusing no"
    assert f"sinks: {expected}\n" in run("status").stdout


def test_config_documents_every_setting(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TREERING_QUERY_LOG_LEVEL", "debug")
    tables = json.loads(run("config", "--json").stdout)
    assert set(tables) == {"ingest", "embed", "query"}
    assert all(each["meaning"] and each["name"].startswith("TREERING_") for table in tables.values() for each in table)
    level = next(each for each in tables["query"] if each["name"] == "TREERING_QUERY_LOG_LEVEL")
    assert (level["value"], level["default"]) == ("debug", "info")
    assert "TREERING_QUERY_LOG_LEVEL=debug" in run("config").stdout


def test_config_says_that_a_secret_is_set_and_shows_none(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TREERING_EMBED_QDRANT_API_KEY", "hush-hush")
    text, json_text = run("config").stdout, run("config", "--json").stdout
    assert ("hush-hush" in text, "hush-hush" in json_text) == (False, False)
    assert "TREERING_EMBED_QDRANT_API_KEY=**********" in text


# Comparing


def main(monkeypatch: pytest.MonkeyPatch, *args: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr("sys.argv", ["treering", *args])
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr("sys.stderr", err)
    code = app_module.run()
    return code, out.getvalue(), err.getvalue()


def test_refusals_exit_with_1_without_a_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(monkeypatch, "sql", "selec") == (1, "", "treering: no such word\n")


def test_arguments_that_are_no_text_are_refused_without_a_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(monkeypatch, "search", "\udcff\udcfe disk") == (1, "", "treering: '\\udcff\\udcfe' is no text in UTF-8; leave it out\n")


@pytest.mark.parametrize("command", [("sql", "select 1"), ("search", "x"), ("send", "a.log", "--retry-for", "0"), ("tail",), ("patterns",)])
def test_unreachable_server_is_named_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: tuple[str, str] | tuple[str, str, str, str] | tuple[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.log").write_text("fine\n")
    for name in ("INGEST", "EMBED", "QUERY"):
        monkeypatch.setenv(f"TREERING_{name}", "127.0.0.1:1")
    code, _, err = main(monkeypatch, *command)
    assert code == 1
    assert "127.0.0.1:1" in err
    assert "treering up" in err


def test_status_shows_who_does_not_answer(run: Run, services: Query, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TREERING_EMBED", "127.0.0.1:1")
    result = run("status", "--json")
    assert result.exit_code == 1
    assert [each["ok"] for each in json.loads(result.stdout).values()] == [True, False, True]


def test_status_fails_where_a_service_has_a_problem(run: Run, services: Query, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "problem", "records cannot be sealed (No space left on device)")
    for form in ((), ("--json",)):
        result = run("status", *form)
        assert (result.exit_code, "records cannot be sealed (No space left on device)" in result.stdout) == (1, True)


@pytest.mark.parametrize("found", [{"ok": True, "problem": "x"}, {"ok": True, "refusing_because": "x"}, {"ok": False, "error": "x"}])
def test_what_is_not_well(found: dict[str, object]) -> None:
    assert not status_module._is_well(found)
    assert status_module._is_well({"ok": True, "problem": "", "refusing_because": ""})


def test_addresses_of_the_running_up_are_found(run: Run, services: Query, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("INGEST", "EMBED", "QUERY"):
        monkeypatch.delenv(f"TREERING_{name}")
    lock = InstanceLock(tmp_path / "data")
    lock.publish(Instance(os.getpid(), True, services.address, services.address, services.address))
    assert run("status", "--data-dir", tmp_path / "data").exit_code == 0
    with pytest.raises(Refusal, match="already running"):
        InstanceLock(tmp_path / "data")
    lock.release()
    assert running_instance(tmp_path / "data") is None
    code, _, err = main(monkeypatch, "status", "--data-dir", str(tmp_path / "data"))
    assert code == 1
    assert "no `treering up` is running" in err


def test_what_a_killed_up_left_behind_is_not_believed(tmp_path: Path) -> None:
    lock = InstanceLock(tmp_path)
    lock.publish(Instance(1, True, "a:1", "b:1", "c:1"))
    os.close(lock._descriptor)
    assert (tmp_path / "up.json").exists()
    assert running_instance(tmp_path) is None
