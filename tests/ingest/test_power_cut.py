"""Power cuts one by one: each case is a promise, and what it would take to break it."""

import contextlib
import errno
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Never

import pytest

from tests.ingest.conftest import MakeBatch
from tests.ingest.simulated_disk import SECTOR, PowerCutError, SimulatedDisk
from treering_ingest.durable_log import LogFailedError
from treering_ingest.process import IngestProcess
from treering_ingest.settings import IngestSettings
from treering_ingest.wal import LogConfig, LogCursor, PosixFileSystem, open_log
from treering_ingest.wal.filesystem import PosixFile
from treering_ingest.wal.log import Log
from treering_runtime import data_dir
from treering_runtime.errors import StartError
from treering_runtime.telemetry import new_registry


def payloads(log: Log) -> list[bytes]:
    cursor = LogCursor(log, 0)
    found = [frame.payload for frame in cursor.read(1 << 20)]
    cursor.close()
    return found


@pytest.fixture
def disk() -> SimulatedDisk:
    return SimulatedDisk()


def test_what_was_synced_survives_the_plainest_power_cut(disk: SimulatedDisk, batch: MakeBatch) -> None:
    log, written = open_log(disk), [batch(text=f"number {number}") for number in range(5)]
    for one in written:
        log.append([one], log.end_offset)
        log.sync()
    log.append([batch(text="not synced")], log.end_offset)
    disk.lose_all_unsynced()
    log = open_log(disk)
    assert payloads(log) == [one.payload for one in written]
    assert log.end_offset == 5


def test_names_of_new_segments_survive_the_plainest_power_cut(disk: SimulatedDisk, batch: MakeBatch) -> None:
    log = open_log(disk, LogConfig(segment_bytes=300))
    for number in range(1, 12):
        log.append([batch()], log.end_offset)
        log.sync()
        names = [info.name for info in log.segments]
        disk.lose_all_unsynced()
        log = open_log(disk, LogConfig(segment_bytes=300))
        assert log.end_offset == number
        assert names == [info.name for info in log.segments][: len(names)]


def test_deleted_segments_stay_deleted_and_no_other_is_missing(disk: SimulatedDisk, batch: MakeBatch) -> None:
    log = open_log(disk, LogConfig(segment_bytes=300))
    for _ in range(12):
        log.append([batch()], log.end_offset)
        log.sync()
    log.release(6)
    start, ends = log.start_offset, log.end_offset
    assert start > 0
    disk.lose_all_unsynced()
    log = open_log(disk)
    assert (log.start_offset, log.end_offset) == (start, ends)


@pytest.mark.parametrize("seed", range(20))
def test_bytes_that_a_failed_sync_left_in_memory_only_are_written_again_by_the_next_start(
    seed: Callable[[range], int], batch: MakeBatch
) -> None:
    disk = SimulatedDisk(seed)
    log = open_log(disk)
    log.append([batch(text="first")], log.end_offset)
    log.sync()
    log.append([batch(text="x" * 3 * SECTOR)], log.end_offset)
    disk.sync_error_after = 0
    with pytest.raises(LogFailedError):
        log.sync()
    found = payloads(open_log(disk))
    disk.lose_all_unsynced()
    assert payloads(open_log(disk)) == found


@pytest.mark.parametrize("sealed", [False, True])
def test_power_cut_at_every_step_of_a_start_after_a_power_cut(sealed: bool, batch: MakeBatch) -> None:
    for step in range(40):
        disk = SimulatedDisk(step)
        log = open_log(disk)
        for _ in range(3):
            log.append([batch()], log.end_offset)
            log.sync()
        if sealed:
            log.close()
        else:
            log.append([batch(text="y" * 2 * SECTOR)], log.end_offset)
        disk.cut_power()
        disk.power_for = step
        try:
            open_log(disk)
        except PowerCutError:
            disk.cut_power()
        disk.heal()
        assert open_log(disk).end_offset in ({3} if sealed else {3, 4})
    assert disk.power_for is None


def test_a_segment_sealed_by_a_clock_ahead_of_its_time_is_deleted_in_the_end(disk: SimulatedDisk, batch: MakeBatch) -> None:
    now = [10**18]
    log = open_log(disk, LogConfig(segment_bytes=300), lambda: now[0])
    for _ in range(6):
        log.append([batch()], log.end_offset)
        log.sync()
    now[0] -= 3 * 365 * 86_400 * 10**9
    assert log.release(log.end_offset, min_age_s=900)
    log.append([batch(arrival=now[0])], log.end_offset)
    log.sync()
    assert payloads(log)


async def test_the_directory_of_the_log_is_on_disk_before_anything_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that was not synced into the one above is lost with everything in it, however well that was synced."""
    synced = []
    sync = data_dir.sync_directory
    monkeypatch.setattr(data_dir, "sync_directory", lambda path: (synced.append(path), sync(path)))
    path = tmp_path / "new" / "data"
    data_dir.DataDir(path, "kind", 1).close()
    assert synced[:2] == [tmp_path, tmp_path / "new"]
    IngestProcess(IngestSettings(data_dir=path, sinks=""), new_registry())._open_log().close()
    assert synced[-1] == path


@pytest.mark.parametrize(("error", "words"), [(errno.ENOSPC, "free some space"), (errno.EIO, "look at the disk")])
async def test_a_disk_that_fails_a_start_is_named_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, words: str
) -> None:
    def fail(file: PosixFile, buffers: Sequence[bytes]) -> Never:
        raise OSError(error, "failed")

    process = IngestProcess(IngestSettings(data_dir=tmp_path, sinks=""), new_registry())
    process._open_log().close()
    monkeypatch.setattr(PosixFile, "append", fail)
    with pytest.raises(StartError, match=words):
        process._open_log()


def test_short_writes_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: MakeBatch) -> None:
    """The system may write less than it was asked to, without an error."""
    whole = PosixFileSystem(tmp_path).create("file")
    monkeypatch.setattr("os.writev", lambda descriptor, buffers: real_write(descriptor, b"".join(buffers)[:7]))
    monkeypatch.setattr("os.write", lambda descriptor, data: real_write(descriptor, bytes(data)[:5]))
    whole.append([b"0123456789", b"", b"abcdefghij" * 3])
    assert whole.read(0, 100) == b"0123456789" + b"abcdefghij" * 3
    whole.close()


def real_write(descriptor: Any, data: bytes) -> int | Any:
    with open(descriptor, "ab", buffering=0, closefd=False) as file:
        return file.write(data)


@pytest.mark.parametrize("seed", range(40))
def test_power_cut_at_every_step_of_a_rotation_and_of_a_deletion(seed: Callable[[range], int], batch: MakeBatch) -> None:
    """Segments and manifest agree, whichever names reached the disk."""
    for step in range(60):
        disk, done = SimulatedDisk(seed), 0
        log = open_log(disk, LogConfig(segment_bytes=300))
        disk.power_for = step
        with contextlib.suppress(PowerCutError):
            for number in range(1, 9):
                log.append([batch()], log.end_offset)
                log.sync()
                done = number
                if number % 4 == 0:
                    log.release(number - 1)
        disk.cut_power()
        assert open_log(disk, LogConfig(segment_bytes=300)).end_offset - done in {0, 1}


@pytest.mark.parametrize("seed", range(40))
def test_power_cut_while_a_segment_is_sealed_leaves_no_footer_behind_frames_that_are_lost(
    seed: Callable[[range], int], batch: MakeBatch
) -> None:
    """With durability `interval` a segment may be sealed when frames in it are not synced yet."""
    for step in range(8):
        disk = SimulatedDisk(seed)
        log = open_log(disk, LogConfig(segment_bytes=700))
        log.append([batch(text="x" * 3 * SECTOR)], log.end_offset)
        disk.power_for = step
        with contextlib.suppress(PowerCutError):
            log.append([batch()], log.end_offset)
        disk.cut_power()
        assert open_log(disk).end_offset <= 2


def test_a_sync_of_a_file_is_one_of_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    monkeypatch.setattr("treering_ingest.wal.filesystem.fdatasync", synced.append)
    files = PosixFileSystem(tmp_path)
    file = files.create("file")
    file.append([b"content"])
    file.sync()
    assert len(synced) == 1
    files.rewrite("file", 3)
    assert (len(synced), file.read(0, 100)) == (2, b"content")
    file.close()
