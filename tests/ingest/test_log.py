import errno
import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any, Never

import google_crc32c
import pytest

from tests.ingest.conftest import FaultyDisk, MakeBatch, OpenLog
from treering_ingest.durable_log import DiskFullError, LogFailedError
from treering_ingest.producers import Stored
from treering_ingest.wal import CorruptLogError, LogConfig, LogCursor, PosixFileSystem, open_log
from treering_ingest.wal.filesystem import File
from treering_ingest.wal.log import Log
from treering_ingest.wal.manifest import MANIFEST, read_manifest
from treering_runtime.clocks import SteadyClock

YEAR = 365 * 86_400 * 10**9


def write(log: Log, batches: list[Any]) -> None:
    for one in batches:
        log.append([one], log.end_offset)
        log.sync()


def spans(frames: list[Any]) -> list[Any]:
    return [(frame.first_offset, frame.record_count) for frame in frames]


def read_all(log: Log, offset: Any | int = 0) -> list[Any]:
    cursor = LogCursor(log, offset)
    frames = []
    while more := cursor.read(100):
        frames += more
    cursor.close()
    return frames


def segment_files(path: Path) -> list[Any]:
    return sorted(file.name for file in path.glob("*.wal"))


def test_what_was_appended_is_read_back_in_order(opened: OpenLog, batch: MakeBatch) -> None:
    with opened() as log:
        written = [batch(count=3), batch(count=1), batch(count=2)]
        log.append(written[:2], log.end_offset)
        log.append(written[2:], log.end_offset)
        log.sync()
        frames = read_all(log)
        assert spans(frames) == [(0, 3), (3, 1), (4, 2)]
        assert [frame.payload for frame in frames] == [one.payload for one in written]
        assert (log.start_offset, log.end_offset, log.synced.offset) == (0, 6, 6)


def test_nothing_unsynced_is_read(opened: OpenLog, batch: MakeBatch) -> None:
    with opened() as log:
        log.append([batch()], log.end_offset)
        assert read_all(log) == []
        assert log.has_unsynced
        log.sync()
        assert spans(read_all(log)) == [(0, 1)]
        assert not log.has_unsynced


def test_a_cursor_goes_on_where_it_stopped_across_segments(opened: OpenLog, batch: MakeBatch) -> None:
    with opened(segment_bytes=500) as log:
        cursor = LogCursor(log, 0)
        seen = []
        for number in range(20):
            write(log, [batch(count=1 + number % 3)])
            seen += cursor.read(10_000)
        cursor.close()
        assert len(log.segments) > 3
        assert seen == read_all(log)
        assert seen[-1].end_offset == log.end_offset


def test_a_snapshot_of_many_producers_is_not_written_for_each_group(opened: OpenLog, batch: MakeBatch) -> None:
    with opened(segment_bytes=1_024) as log:
        for number in range(200):
            write(log, [batch(b"producer %d" % number, 1, 1)])
        before = len(log.segments)
        for sequence in range(2, 52):
            write(log, [batch(b"producer 0", sequence, 1)])
        assert 0 < len(log.segments) - before <= 50 // 2


@pytest.mark.parametrize("offset", range(12))
def test_a_cursor_may_begin_at_any_offset(opened: OpenLog, batch: MakeBatch, offset: Callable[[range], int]) -> None:
    with opened(segment_bytes=400) as log:
        write(log, [batch(count=2) for _ in range(6)])
        frames = read_all(log, offset)
        assert frames[0].first_offset <= offset < frames[0].end_offset
        assert frames[-1].end_offset == 12


def test_frames_without_records_keep_a_producers_place_and_are_not_delivered(opened: OpenLog, batch: MakeBatch) -> None:
    with opened() as log:
        write(log, [batch(b"me", 1, 0), batch(b"me", 2, 2), batch(b"me", 3, 0)])
        assert spans(read_all(log)) == [(0, 2)]
    with opened() as log:
        assert log.producers.last_sequence(b"me") == 3


def test_segments_of_frames_without_records_are_walked_through(opened: OpenLog, batch: MakeBatch) -> None:
    with opened(segment_bytes=300) as log:
        write(log, [batch(b"me", sequence, 0) for sequence in range(1, 20)])
        write(log, [batch(b"me", 20, 1)])
        assert len({info.name.first_offset for info in log.segments}) < len(log.segments)
        assert spans(read_all(log)) == [(0, 1)]


def test_a_log_goes_on_after_a_stop_and_after_a_crash(opened: OpenLog, batch: MakeBatch) -> None:
    ids = set()
    for crash in (False, True, True, False):
        with opened(crash=crash) as log:
            ids.add(log.log_id)
            assert log.torn_tail is None
            write(log, [batch(count=2)])
            assert log.end_offset == 2 * len(read_all(log))
    with opened() as log:
        assert log.end_offset == 8
        assert ids == {log.log_id}


def test_an_idle_log_does_not_grow_by_restarts(opened: OpenLog, tmp_path: Path) -> None:
    for _ in range(5):
        with opened():
            pass
    assert len(segment_files(tmp_path)) == 1


def test_the_producers_outlive_their_segments(opened: OpenLog, batch: MakeBatch) -> None:
    with opened(segment_bytes=300) as log:
        write(log, [batch(b"early", 1), *(batch(b"late", sequence) for sequence in range(1, 9))])
        early = log.producers.check(b"early", 1, batch(b"early", 1).batch_hash)
        assert log.release(log.end_offset) >= 2
        assert log.start_offset > 0
    with opened() as log:
        assert log.producers.check(b"early", 1, batch(b"early", 1).batch_hash) == early == Stored(1, batch(b"early", 1).batch_hash, 1, 1)


def test_trim_keeps_what_a_sink_needs_what_is_young_and_the_minimum_size(opened: OpenLog, batch: MakeBatch) -> None:
    with opened(segment_bytes=300) as log:
        write(log, [batch() for _ in range(12)])
        second = log.segments[1].name.first_offset
        assert log.release(second - 1) == 0
        assert log.release(second, min_age_s=10_000) == 0
        assert log.release(second, min_bytes=10_000) == 0
        assert (log.release(second), log.start_offset) == (1, second)
        assert log.start_offset == second
        assert spans(read_all(log))[0][0] == second
    with opened() as log:
        assert log.start_offset == second


@pytest.mark.parametrize("leap", [10 * YEAR, -10 * YEAR, -2 * 10**9])
def test_a_clock_that_leaps_trims_nothing_that_is_young_or_that_a_sink_needs(tmp_path: Path, batch: MakeBatch, leap: int) -> None:
    wall, boot = [30 * YEAR], [0]
    log = open_log(PosixFileSystem(tmp_path), LogConfig(segment_bytes=300), SteadyClock(lambda: wall[0], lambda: boot[0]))
    with closing(log):
        write(log, [batch() for _ in range(6)])
        wall[0] += leap
        assert log.release(log.end_offset, min_age_s=900) == 0
        write(log, [batch() for _ in range(6)])
        wall[0] -= leap
        assert log.release(log.end_offset, min_age_s=900) == 0
        boot[0] += 900 * 10**9
        assert log.release(0, min_age_s=900) == 0
        assert log.release(log.end_offset, min_age_s=900)


def test_the_clock_of_a_log_does_not_leap_by_itself(tmp_path: Path) -> None:
    with closing(open_log(PosixFileSystem(tmp_path))) as log:
        assert isinstance(log._clock, SteadyClock)


@pytest.mark.parametrize("turn", range(4))
def test_a_cursor_that_meets_a_segment_trimmed_meanwhile_goes_on_with_the_oldest_there_is(
    opened: OpenLog, batch: MakeBatch, monkeypatch: pytest.MonkeyPatch, turn: Callable[[range], int]
) -> None:
    with opened(segment_bytes=300) as log:
        write(log, [batch() for _ in range(12)])
        opens, before = PosixFileSystem.open, read_all(log)

        def trimmed_first(self: PosixFileSystem, name: str) -> File:
            nonlocal turn
            turn -= 1
            if turn == -1:
                log.release(log.segments[-2].name.first_offset)
            return opens(self, name)

        monkeypatch.setattr(PosixFileSystem, "open", trimmed_first)
        frames = read_all(log)
        assert frames[-1] == before[-1]
        assert frames == [frame for frame in before if frame in frames]  # in order, none twice
        assert {frame.first_offset for frame in frames} >= set(range(log.start_offset, log.end_offset))


def test_a_segment_that_is_missing_though_the_log_has_it_is_an_error(opened: OpenLog, batch: MakeBatch, tmp_path: Path) -> None:
    with opened(segment_bytes=300, crash=True) as log:
        write(log, [batch() for _ in range(12)])
        (tmp_path / log.segments[1].name.file).unlink()
        with pytest.raises(FileNotFoundError):
            read_all(log)


def test_leftovers_of_an_interrupted_deletion_or_creation_are_removed(opened: OpenLog, batch: MakeBatch, tmp_path: Path) -> None:
    with opened(segment_bytes=300) as log:
        write(log, [batch() for _ in range(12)])
        first = tmp_path / log.segments[0].name.file
        content = first.read_bytes()
        log.release(log.end_offset)
    first.write_bytes(content)
    (tmp_path / "0000000099-00000000000000000099.wal.tmp").write_bytes(b"half")
    with opened() as log:
        assert not first.exists()
        assert not list(tmp_path.glob("*.tmp"))


def test_a_full_disk_takes_nothing_and_then_everything(faulty_disk: FaultyDisk, opened: OpenLog, batch: MakeBatch) -> None:
    with opened(files=faulty_disk, segment_bytes=400) as log:
        write(log, [batch()])
        for number in range(2, 12):
            for free in (0, 1, 50, 120):
                faulty_disk.free_bytes = free
                with pytest.raises(DiskFullError):
                    log.append([batch(), batch()], log.end_offset)
            faulty_disk.free_bytes = None
            write(log, [batch()])
            assert log.end_offset == len(read_all(log)) == number
    with opened() as log:
        assert log.torn_tail is None
        assert log.end_offset == 11


@pytest.mark.parametrize("lack", [errno.EMFILE, errno.ENFILE])
def test_without_a_descriptor_no_segment_begins_and_then_everything_is_taken(
    faulty_disk: FaultyDisk, opened: OpenLog, batch: MakeBatch, lack: int
) -> None:
    with opened(files=faulty_disk, segment_bytes=300) as log:
        taken = refused = 0
        while refused < 3:
            faulty_disk.open_error = lack
            try:
                write(log, [batch()])
            except DiskFullError as error:
                assert "open files" in str(error)  # noqa: PT017 - it comes at some of these
                refused += 1
                faulty_disk.open_error = None
                write(log, [batch()])
            taken += 1
        faulty_disk.open_error = lack
        with pytest.raises(DiskFullError, match="open files"):
            log.release(taken)
        faulty_disk.open_error = None
        assert log.end_offset == len(read_all(log)) == taken
    with opened() as log:
        assert (log.torn_tail, log.end_offset) == (None, taken)


def test_a_deletion_that_there_was_no_room_for_is_given_up_for_good(
    faulty_disk: FaultyDisk, opened: OpenLog, batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(files=faulty_disk, segment_bytes=300) as log:
        for _ in range(6):
            write(log, [batch()])
        with monkeypatch.context() as patched:
            patched.setattr(faulty_disk, "sync_directory", no_room)
            with pytest.raises(DiskFullError):
                log.release(log.end_offset)
        for _ in range(3):
            write(log, [batch()])  # begins segments, which the manifest names
        end = log.end_offset
    with opened(segment_bytes=300) as log:
        assert (log.start_offset, log.end_offset) == (0, end)


def no_room() -> Never:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("step", ["header", "before the write", "in the write", "after the write", "producers"])
def test_without_memory_at_any_step_of_an_append_what_was_acknowledged_is_there(
    faulty_disk: FaultyDisk, opened: OpenLog, batch: MakeBatch, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The process ends then; what it closes and leaves is opened by the next one."""
    written = {"before the write": 0, "in the write": -20, "after the write": None}

    def append(file: Path, buffers: Any) -> None:
        file._file.append([b"".join(buffers)[: written[step]]])
        raise MemoryError

    def without_memory(*_: object) -> Never:
        raise MemoryError

    with opened(files=faulty_disk) as log:
        write(log, [batch(text="acknowledged")])
        with monkeypatch.context() as patched:
            if step in written:
                patched.setattr(type(log._active.file), "append", append)
            elif step == "header":
                patched.setattr("treering_ingest.wal.active.encode_header", without_memory)
            else:
                patched.setattr(log.producers, "store", without_memory)
            with pytest.raises(MemoryError):
                log.append([batch(), batch()], log.end_offset)
    with opened() as log:
        assert log.end_offset in (1, 2, 3)
        write(log, [batch(text="afterwards")])
        found = read_all(log)
        assert len(found) == log.end_offset
        assert b"acknowledged" in found[0].payload
        assert b"afterwards" in found[-1].payload


def test_a_failed_sync_is_final(faulty_disk: FaultyDisk, opened: OpenLog, batch: MakeBatch) -> None:
    with opened(files=faulty_disk) as log:
        write(log, [batch()])
        log.append([batch()], log.end_offset)
        faulty_disk.fail_syncs = True
        with pytest.raises(LogFailedError, match="Input/output error"):
            log.sync()
        faulty_disk.fail_syncs = False
        calls = faulty_disk.sync_calls
        for attempt in (log.sync, lambda: log.append([batch()], log.end_offset), lambda: log.release(1)):
            with pytest.raises(LogFailedError):
                attempt()
        assert log.synced.offset == 1
        log.close()
        assert faulty_disk.sync_calls == calls


def test_a_failed_sync_of_a_new_segment_is_final(faulty_disk: FaultyDisk, opened: OpenLog, batch: MakeBatch) -> None:
    with opened(files=faulty_disk, segment_bytes=300) as log:
        write(log, [batch(), batch()])
        faulty_disk.fail_syncs = True
        with pytest.raises(LogFailedError):
            write(log, [batch() for _ in range(5)])
        faulty_disk.fail_syncs = False
        with pytest.raises(LogFailedError):
            log.append([batch()], log.end_offset)


@pytest.fixture
def three_segments(opened: OpenLog, batch: MakeBatch, tmp_path: Path) -> list[Path]:
    with opened(segment_bytes=300) as log:
        write(log, [batch() for _ in range(12)])
        names = [tmp_path / info.name.file for info in log.segments]
    assert len(names) >= 4
    return names


def refused(opened: Callable[..., AbstractContextManager[Log, bool | None]], match: str) -> None:
    with pytest.raises(CorruptLogError, match=match), opened(segment_bytes=300):
        pass


@pytest.mark.parametrize("which", [0, 1, -1])
def test_missing_segment_is_refused(three_segments: list[Path], opened: OpenLog, which: int) -> None:
    three_segments[which].unlink()
    refused(opened, "segment \\d+ of 1 to \\d+ is missing")


def test_duplicated_segment_is_refused(three_segments: list[Path], opened: OpenLog) -> None:
    index = three_segments[1].name.partition("-")[0]
    (three_segments[1].parent / f"{index}-{99:020d}.wal").write_bytes(three_segments[1].read_bytes())
    refused(opened, "is there twice")


def test_swapped_segments_are_refused(three_segments: list[Path], opened: OpenLog) -> None:
    one, other = three_segments[1:3]
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    refused(opened, "renamed or swapped")


def test_empty_segment_is_refused(three_segments: list[Path], opened: OpenLog) -> None:
    three_segments[1].write_bytes(b"")
    refused(opened, "shorter than a segment's header")


def test_segment_of_another_log_is_refused(three_segments: list[Path], opened: OpenLog, batch: MakeBatch, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with opened(path=other, segment_bytes=300) as log:
        write(log, [batch() for _ in range(12)])
    three_segments[1].write_bytes((other / three_segments[1].name).read_bytes())
    refused(opened, "the segment is of log")


def test_missing_manifest_is_refused(three_segments: list[Path], opened: OpenLog) -> None:
    (three_segments[0].parent / MANIFEST).unlink()
    refused(opened, "the manifest is missing")


def test_newer_format_is_refused(opened: OpenLog, tmp_path: Path) -> None:
    with opened():
        pass
    manifest = tmp_path / MANIFEST
    line = json.dumps({**json.loads(manifest.read_bytes().split(b"\n")[0]), "format": 3}).encode()
    manifest.write_bytes(line + b"\n%08x\n" % google_crc32c.value(line))
    refused(opened, "format 3 is newer than 2; use a newer Treering")


def test_the_manifest_names_what_is_there(three_segments: list[Path], opened: OpenLog, tmp_path: Path) -> None:
    with opened(segment_bytes=300) as log:
        manifest = read_manifest(PosixFileSystem(tmp_path))
        assert (manifest.log_id, manifest.first_segment, manifest.last_segment) == (log.log_id, 1, log.segments[-1].name.index)


def test_a_file_that_was_closed_touches_no_other_file(tmp_path: Path) -> None:
    file = PosixFileSystem(tmp_path).create("first")
    file.close()
    other = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT)
    try:
        file.close()
        for use in (lambda: file.append([b"x"]), lambda: file.truncate(0), file.sync):
            with pytest.raises((OSError, ValueError)):
                use()  # type: ignore[no-untyped-call]
        assert os.fstat(other).st_size == 0
    finally:
        os.close(other)
