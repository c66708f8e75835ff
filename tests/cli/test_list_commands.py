"""`treering list`, `fields`, `values`, and what each answer says it cost."""

import json
from collections.abc import Callable

import pytest

from tests.cli.conftest import Query, Run
from treering import calls, metrics
from treering.v1 import query_pb2


def test_list_asks_page_after_page_and_says_that_there_is_more(run: Run, services: Query) -> None:
    result = run("list", "--limit", "2100", "--where", "k=v", "--since", "15m", "--order", "oldest")
    lines = result.stdout.splitlines()
    assert len(lines) == 2_100
    assert [line.split()[0] for line in lines[:3]] == ["0", "1", "2"]
    assert [request.page_size for request in services.requests] == [1_000, 1_000, 100]
    assert {request.order for request in services.requests} == {query_pb2.LOG_ORDER_OLDEST_FIRST}
    assert services.requests[0].filter == services.requests[2].filter
    assert services.requests[0].filter.attributes[0].key == "k"
    assert "more than 2,100" in result.stderr
    assert "evil \\x1b[31m\\nline" in lines[0]


def test_list_gives_the_documented_json(run: Run) -> None:
    result = run("list", "--limit", "2", "--json", "--max-message-bytes", "10")
    answer = json.loads(result.stdout)
    assert answer["next_page_token"] == "2"
    assert [(record["offset"], record["whole_message_bytes"]) for record in answer["records"]] == [(0, 5_000), (1, 5_000)]
    assert answer["cost"]["rows_read"] == 1_000
    assert result.stderr == ""


def test_list_goes_on_where_it_was_told_and_says_how_long_cut_messages_are(run: Run, services: Query) -> None:
    result = run("list", "--page-token", "2498", "--max-message-bytes", "10", "--limit", "100")
    assert len(result.stdout.splitlines()) == 2
    assert all(line.endswith("[... 5,000 bytes]") for line in result.stdout.splitlines())
    assert "more" not in result.stderr


@pytest.mark.parametrize("option", [("--limit", "0"), ("--order", "best"), ("--max-message-bytes", "0")])
def test_list_refuses_what_makes_no_sense(run: Run, services: Query, option: tuple[str, str]) -> None:
    assert run("list", *option).exit_code == 2
    assert services.requests == []


def test_fields_are_named_as_other_commands_name_them(run: Run) -> None:
    shown = run("fields")
    assert [line.split() for line in shown.stdout.splitlines()[2:]] == [
        ["service", "8", "100.0%", "text"],
        ["status", "4", "50.0%", "integer", "75.0%,", "text", "25.0%"],
        ["attribute:service", "2", "25.0%", "text"],
    ]
    found = json.loads(run("fields", "--json").stdout)
    assert [field["field"] for field in found["fields"]] == ["service", "trace_id", "status", "attribute:service"]
    assert found["fields"][2] == {"field": "status", "is_attribute": True, "record_count": 4, "kinds": {"integer": 3, "text": 1}}
    assert (found["record_count"], found["total_count"], found["cost"]["segments_skipped"]) == (8, 4, 2)


def test_values_show_what_is_listed_and_what_is_not(run: Run, services: Query) -> None:
    result = run("values", "severity, status,about:a, b", "--limit", "2", "--budget", "500ms", "--where", "k=v")
    (request,) = services.requests
    assert [ref.WhichOneof(ref.DESCRIPTOR.oneofs[0].name) for ref in request.fields] == ["field", "attribute", "about"]
    assert (request.fields[2].about, request.values_per_field, request.budget_ms) == ("a, b", 2, 500)
    cells = [line.split("  ") for line in result.stdout.splitlines()[2:]]
    rows = [[cell.strip() for cell in line if cell.strip()] for line in cells]
    assert [row[:3] for row in rows[:2]] == [["severity", "ERROR", "5"], ["(2 other values)", "4", rows[1][2]]]
    assert [row[:2] for row in rows[2:6]] == [["status", "17"], ['""', "2"], ["(1 other values)", "2"], ["(none)", "1"]]
    assert "a hole" in result.stderr
    assert "at or after 2001-09-09T01:46:40Z" in result.stderr


def test_values_give_the_documented_json(run: Run) -> None:
    found = json.loads(run("values", "severity", "--json").stdout)
    assert found["fields"][0] == {
        "field": "severity",
        "values": [{"value": "ERROR", "count": 5}],
        "distinct_count": 3,
        "record_count": 9,
        "missing_count": 0,
        "scanned_back_to": "2001-09-09T01:46:40Z",
        "truncated": False,
    }
    assert found["cost"]["work_ms"] == 4


@pytest.mark.parametrize("names", ["", ",", " , "])
def test_values_want_a_field(run: Run, services: Query, names: str) -> None:
    assert run("values", names).exit_code == 2
    assert services.requests == []


@pytest.mark.parametrize(
    "command",
    [
        ("list",),
        ("fields",),
        ("values", "status"),
        ("aggregate",),
        ("search", "x"),
        ("sql", "select 1"),
        ("patterns",),
        ("context", "7"),
    ],
)
def test_cost_is_said_beside_the_answer(run: Run, command: tuple[str] | tuple[str, str]) -> None:
    words = "treering: read 1,000 records, 1 of 3 segments (2,000 bytes); waited 3 ms, worked 4 ms"
    assert words in run(*command, "--cost", *(("--limit", "2") if command == ("list",) else ())).stderr
    assert "worked" not in run(*command).stderr
    shown = run(*command, "--cost", "--json", *(("--limit", "2") if command == ("list",) else ()))
    (line,) = [line for line in shown.stderr.splitlines() if line.startswith("{")]
    assert json.loads(line)["cost"]["bytes_read"] == 2_000


@pytest.mark.parametrize(
    "name", ["service", "trace_id", "status", "attribute:service", "about:a, b", "attribute:about:x", "attribute:attribute:x"]
)
def test_the_name_of_a_field_is_that_from_which_it_is_made(name: str) -> None:
    assert metrics.field_name(metrics.field(name)) == name


@pytest.mark.parametrize("make", [lambda: calls.list_logs(order="best"), lambda: calls.list_field_values([""])])
def test_what_is_no_order_and_no_field_is_refused_before_the_call(
    make: Callable[[], calls.call.Call[query_pb2.ListLogsRequest]] | Callable[[], calls.call.Call[query_pb2.ListFieldValuesRequest]],
) -> None:
    with pytest.raises(ValueError, match=r"order|field"):
        make()
