"""The store on a disk that is really full, and has room again."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.privileges import needs_root
from tests.query.conftest import Fill, OpenStore
from treering_query.sealed import seal_task
from treering_query.store.store import Store

pytestmark = needs_root


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal_task, "RETRY_SEAL_S", (0.05, 0.05))


def offsets(store: Store) -> Any:
    with store.snapshot() as snapshot:
        return snapshot.query('select "offset" from logs order by 1').column(0).to_pylist()


async def test_a_disk_that_is_really_full_is_sealed_to_when_it_has_room_again(open_store: OpenStore, fill: Fill, small_disk: Path) -> None:
    """The database refuses every statement after a checkpoint that failed: without opening it again nothing would ever be sealed."""
    failed_checkpoints = 0
    with capture_logs() as logs:
        async with open_store(directory=small_disk / "store") as store:
            done = 0
            for leave_kib in range(0, 800, 40):  # where on the way the room ends
                (small_disk / "ballast").write_bytes(bytes(free_bytes(small_disk, leave_kib)))
                await fill(store, done, done + 200)
                done += 200
                sealing_now = asyncio.create_task(store.seal())
                await asyncio.wait({sealing_now}, timeout=0.2)
                assert offsets(store) == list(range(done)), leave_kib
                (small_disk / "ballast").unlink()
                await asyncio.wait_for(sealing_now, 60)
                assert offsets(store) == list(range(done)), leave_kib
            assert store.board.get(7).releasable_end == done
            failed_checkpoints = sum("checkpoint failed" in each["event"] for each in logs)
    assert failed_checkpoints, "the room never ended where it hurts most"
    async with open_store(directory=small_disk / "store") as store:
        assert offsets(store) == list(range(done))


def free_bytes(directory: Path, leave_kib: int) -> int:
    found = os.statvfs(directory)
    return max(0, found.f_bavail * found.f_frsize - leave_kib * 1024)
