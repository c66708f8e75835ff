"""A store that came back from an old copy, behind a log that has moved on: refused, skipped by an operator, and named from then on."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from .instance import Instance

pytestmark = pytest.mark.system

TIMES = 4
SENT = TIMES * 500
"""Records of one `send`."""


@pytest.fixture
async def instance(tmp_path: Path) -> AsyncIterator[Instance]:
    kept = {"SEGMENT_BYTES": "20000", "RETAIN_MIN_SECONDS": "0", "RETAIN_MIN_BYTES": "0"}
    instance = Instance(tmp_path, query={"HOT_MAX_AGE_S": "0.2"}, **kept)
    for service in (instance.embed, instance.query, instance.ingest):
        assert await service.start()
    yield instance
    await instance.end()


async def send(instance: Instance, tmp_path: Path, first: int, end: int) -> None:
    file = tmp_path / "lines.jsonl"
    file.write_text("".join(json.dumps({"service": "s", "message": f"request {number} done"}) + "\n" for number in range(first, end)))
    for _ in range(TIMES):  # many batches, many segments
        await instance.json("send", str(file), "--format", "jsonl", "--wait", "--json")


async def until(instance: Instance, condition: Callable[[Any], Any] | Callable[[Any], bool]) -> tuple[Any, Any]:
    """The status, once it is as wanted."""
    async with asyncio.timeout(300):
        while True:
            done = await instance.run("status", "--json")
            found = json.loads(done.stdout)
            if condition(found):
                return done, found


async def test_holes_are_named_by_status_verify_and_answers(instance: Instance, tmp_path: Path) -> None:
    await send(instance, tmp_path, 0, 500)
    await until(
        instance, lambda found: found["query"]["hot_record_count"] == 0 and found["ingest"]["sinks"][1]["releasable_end_offset"] == SENT
    )
    await instance.query.stop()
    shutil.copytree(tmp_path / "query", tmp_path / "copy")
    assert await instance.query.start()
    await send(instance, tmp_path, 500, 1000)
    _, found = await until(instance, lambda found: found["ingest"]["start_offset"] > SENT)  # retention goes on for honest sinks
    begin = found["ingest"]["start_offset"]

    await instance.query.stop()
    shutil.rmtree(tmp_path / "query")
    (tmp_path / "copy").rename(tmp_path / "query")
    assert await instance.query.start()
    done, found = await until(instance, lambda found: "would be missing" in found["ingest"]["sinks"][1]["last_error"])
    assert done.returncode == 1
    assert "treering store skip" in found["ingest"]["sinks"][1]["last_error"]

    begin = found["ingest"]["start_offset"]
    await instance.json("store", "skip", str(tmp_path / "query"), found["ingest"]["log_id"], str(SENT), str(begin), "--json")
    count = begin - SENT
    done, found = await until(instance, lambda found: found["query"]["holes"])
    assert done.returncode == 0
    assert found["ingest"]["sinks"][1]["skipped_count"] in (0, count)
    hole = f"offsets {SENT} to {begin - 1} of log {found['ingest']['log_id']}"
    assert found["query"]["holes"] == [{"log_id": found["ingest"]["log_id"], "first_offset": SENT, "end_offset_exclusive": begin}]

    counted = await instance.run("sql", "select count(*) n from logs where time > '2020-01-01'", "--json")
    assert f"{count:,} records are missing for good: {hole}" in counted.stderr
    report = await instance.json("verify", "--json")
    assert (report["ok"], report["skipped_count"], report["differences"]) == (True, count, [])
    assert any(f"query does without offsets {SENT} to {begin - 1}" in note for note in report["notes"])
    named = [f"log {found['ingest']['log_id']}, offsets {SENT} to {begin - 1}: {count:,} records"]
    assert (await instance.json("store", "verify", "--json"))["holes"] == named
    await instance.query.stop()
    at_rest = await instance.run("store", "verify", str(tmp_path / "query"))
    assert f"{named[0]} are missing for good" in at_rest.stdout
