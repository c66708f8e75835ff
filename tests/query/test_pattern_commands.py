"""`treering patterns` and `treering pattern` against a running service."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator

import pytest

from tests.query.conftest import Asking, MakeFrame, Serving
from treering.v1.log_pb2 import LogRecord

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
TEMPLATE = "session opened for user <*> today"


async def run_cli(client: Asking, *arguments: str) -> tuple[int | None, str, str]:
    line = (sys.executable, "-m", "treering_cli", *arguments, "--query", client.endpoints.query)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*line, stdout=pipe, stderr=pipe)
    said, noted = await process.communicate()
    return process.returncode, said.decode(), noted.decode()


@pytest.fixture
async def client(serving: Serving, frame: MakeFrame) -> AsyncIterator[Asking]:
    users = ("ann", "bob", "cyd", "dan")
    messages = [
        *(f"session opened for user {user} today" for user in users),
        *(f"sent {number} mails to db{number % 3}" for number in range(9)),
    ]
    records = [LogRecord(service="mail", message=text, time_unix_nano=START + place * SECOND) for place, text in enumerate(messages)]
    async with serving() as (store, client):
        await store.open_log(7, 0)
        await store.deliver(7, [frame(0, records)], len(records))
        await store.templates.settled()
        yield client


async def test_patterns_are_listed_for_people_and_for_programs(client: Asking) -> None:
    code, said, _ = await run_cli(client, "patterns", "--unit", "template", "--sort", "growth", "--limit", "2")
    assert code == 0
    assert TEMPLATE in said
    assert said.index("sent <*> mails") < said.index(TEMPLATE)
    assert any(block in said for block in "▁▂▃▄▅▆▇█")
    found = json.loads((await run_cli(client, "patterns", "--unit", "template", "--sort", "count", "--json"))[1])
    assert [each["count"] for each in found] == [9, 4]
    assert [sum(each["sparkline"]) for each in found] == [9, 4]
    assert (found[1]["pattern_count"], found[1]["services"], found[1]["pattern_id"]) == (4, ["mail"], found[1]["template_id"])
    bare = json.loads((await run_cli(client, "patterns", "--limit", "3", "--sort", "last-seen", "--no-sparkline", "--json"))[1])
    assert [each["sparkline"] for each in bare] == [[]] * 3


async def test_one_pattern_in_depth(client: Asking) -> None:
    found = json.loads((await run_cli(client, "patterns", "--limit", "1", "--json"))[1])[0]
    code, said, _ = await run_cli(client, "pattern", found["pattern_id"])
    assert code == 0
    assert "mail: sent <*> mails to <*>" in said
    assert "sent <*> mails to <?>" in said
    assert "db2" in said
    assert "sent 8 mails to db2" in said
    deep = json.loads((await run_cli(client, "pattern", found["pattern_id"], "--json", "--values", "2"))[1])
    assert deep["variables"][1]["distinct_count"] == 3
    assert deep["variables"][1]["values"][0] == {"value": "db0", "count": 3}
    assert len(deep["variables"][0]["values"]) == 2
    assert (len(deep["sparkline"]), sum(deep["sparkline"]), deep["variables_read_count"]) == (60, 9, 9)


async def test_a_template_shows_its_patterns(client: Asking) -> None:
    found = json.loads((await run_cli(client, "patterns", "--unit", "template", "--sort", "rarity", "--limit", "1", "--json"))[1])[0]
    code, said, _ = await run_cli(client, "pattern", found["template_id"], "--unit", "template")
    assert code == 0
    assert TEMPLATE in said
    assert "session opened for user cyd today" in said


@pytest.mark.parametrize(("given", "problem"), [("12", "no pattern has the id 12"), ("x", "no id"), ("9" * 30, "no id")])
async def test_an_id_that_is_none_is_said(client: Asking, given: str, problem: str) -> None:
    code, said, noted = await run_cli(client, "pattern", given)
    assert code != 0
    assert problem in " ".join(noted.split())
    assert "Traceback" not in said + noted
