"""A task that fails ends the process, with words; it does not end unseen."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

CHILD = """
import sys
from unittest import mock
from treering_ingest import process
async def fails(*_):
    raise RuntimeError("this was not foreseen")
with mock.patch.object({where}, "run", fails):
    import runpy
    runpy.run_module("treering_ingest", run_name="__main__")
"""


@pytest.mark.parametrize(
    ("where", "name"),
    [("process.Retention", "retention"), ("process.DeliveredNote", "note of what was delivered"), ("process.Delivery", "delivery to a")],
)
async def test_the_process_ends_with_words_when_one_of_its_tasks_fails(tmp_path: Path, where: str, name: str) -> None:
    chosen = {
        "DATA_DIR": str(tmp_path / "ingest"),
        "LISTEN": "127.0.0.1:0",
        "METRICS_LISTEN": "127.0.0.1:0",
        "SINKS": "a=unix:/no/such/directory/s",
    }
    environment = os.environ | {f"TREERING_INGEST_{key}": value for key, value in chosen.items()}
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD.format(where=where), env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await child.communicate()
    said = errors.decode()
    assert child.returncode == 1
    assert f"treering ingest: {name} failed: RuntimeError: this was not foreseen" in said
    assert "acknowledged is in the log" in said
