import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.ingest.conftest import MakeBatch, OpenLog
from treering_ingest.wal import CorruptLogError, LogCursor
from treering_ingest.wal.inspect import cat, verify
from treering_ingest.wal.log import Log
from treering_ingest.wal.segment import SegmentName


def newest(path: Path) -> Path:
    return max(path.glob("*.wal"))


def readable(log: Log) -> list[Any]:
    cursor = LogCursor(log, 0)
    frames = []
    while more := cursor.read(1 << 20):
        frames += more
    cursor.close()
    return [frame.payload for frame in frames]


@pytest.fixture
def crashed(opened: OpenLog, batch: MakeBatch, tmp_path: Path) -> tuple[Path, list[bytes], list[int]]:
    """A log that was killed: three frames, each synced alone; returns payloads and where each frame ends in the file."""
    source = tmp_path / "source"
    source.mkdir()
    batches, ends = [batch(b"me", sequence, 2) for sequence in (1, 2, 3)], []
    with opened(crash=True, path=source) as log:
        for one in batches:
            log.append([one], log.end_offset)
            log.sync()
            ends.append(log.synced.position)
    return source, [one.payload for one in batches], ends


def copy_of(source: Path, tmp_path: Path, number: int) -> Path:
    target = tmp_path / f"copy-{number}"
    shutil.copytree(source, target)
    return target


def test_torn_tail_at_every_byte_of_the_last_frame_is_cut_kept_and_reported(
    crashed: tuple[Path, list[bytes], list[int]], opened: OpenLog, tmp_path: Path
) -> None:
    source, payloads, ends = crashed
    whole = newest(source).read_bytes()
    for length in range(ends[1], ends[2]):
        target = copy_of(source, tmp_path, length)
        newest(target).write_bytes(whole[:length])
        name = newest(target).name
        with opened(path=target) as log:
            assert readable(log) == payloads[:2]
            assert log.producers.last_sequence(b"me") == 2
            assert log.end_offset == 4
            if length == ends[1]:
                assert log.torn_tail is None
            else:
                assert (log.torn_tail.segment, log.torn_tail.position, log.torn_tail.size_bytes) == (name, ends[1], length - ends[1])
                assert (target / log.torn_tail.kept_as).read_bytes() == whole[ends[1] : length]
        shutil.rmtree(target)


def test_zeros_after_the_last_frame_are_a_torn_tail(crashed: tuple[Path, list[bytes], list[int]], opened: OpenLog) -> None:
    source, payloads, _ = crashed
    with newest(source).open("ab") as file:
        file.write(bytes(1_000))
    with opened(path=source) as log:
        assert readable(log) == payloads
        assert log.torn_tail.size_bytes == 1_000


def test_flipped_bit_at_every_byte_of_a_killed_log_is_found(
    crashed: tuple[Path, list[bytes], list[int]], opened: OpenLog, tmp_path: Path
) -> None:
    """In the last frame a flip looks like a torn write: cut, kept, reported. Everywhere else the log is refused."""
    source, payloads, ends = crashed
    whole = newest(source).read_bytes()
    target = copy_of(source, tmp_path, 0)
    for byte in range(len(whole)):
        damaged = bytearray(whole)
        damaged[byte] ^= 1 << byte % 8
        shutil.rmtree(target)
        shutil.copytree(source, target)
        newest(target).write_bytes(damaged)
        if byte >= ends[1]:
            with opened(path=target) as log:
                assert log.torn_tail is not None
                assert readable(log) == payloads[:2]
        else:
            assert not verify(target).is_sound
            with pytest.raises(CorruptLogError), opened(path=target):
                pass


def test_flipped_bit_at_every_byte_of_a_stopped_log_is_found(opened: OpenLog, batch: MakeBatch, tmp_path: Path) -> None:
    """Only the footer's own bytes can look like a torn write; the frames before it are all kept."""
    source = tmp_path / "source"
    source.mkdir()
    with opened(path=source, segment_bytes=400) as log:
        for sequence in range(1, 6):
            log.append([batch(b"me", sequence)], log.end_offset)
            log.sync()
        payloads = readable(log)
    for name in [file.name for file in source.iterdir()]:
        whole = (source / name).read_bytes()
        is_newest = name == newest(source).name
        for byte in range(len(whole)):
            target = copy_of(source, tmp_path, 0)
            damaged = bytearray(whole)
            damaged[byte] ^= 1 << byte % 8
            (target / name).write_bytes(damaged)
            try:
                with opened(path=target, segment_bytes=400) as log:
                    assert is_newest
                    assert log.torn_tail is not None
                    assert readable(log) == payloads
                    assert len(whole) - byte <= log.torn_tail.size_bytes
            except CorruptLogError:
                assert not verify(target).is_sound
            shutil.rmtree(target)


def test_torn_group_with_a_whole_later_frame_is_cut_not_refused(opened: OpenLog, batch: MakeBatch, tmp_path: Path) -> None:
    """A power cut may keep the second half of one write and lose the first."""
    with opened(crash=True) as log:
        log.append([batch()], log.end_offset)
        log.sync()
        durable = log.synced.position
        log.append([batch(text="first of the group"), batch(text="second of the group")], log.end_offset)
        log.sync()
    file = newest(tmp_path)
    content = bytearray(file.read_bytes())
    content[durable : durable + 20] = bytes(20)
    file.write_bytes(content)
    with opened() as log:
        assert log.end_offset == 1
        assert log.torn_tail.position == durable


def test_a_payload_that_imitates_a_frame_proves_no_damage(opened: OpenLog, batch: MakeBatch, tmp_path: Path) -> None:
    """Frames are bound to their segment by a number that never leaves the directory."""
    with opened(crash=True) as log:
        for _ in range(3):
            log.append([batch()], log.end_offset)
            log.sync()
        other_segment = newest(tmp_path).read_bytes()
    imitation = tmp_path / "imitation"
    imitation.mkdir()
    with opened(crash=True, path=imitation) as log:
        log.append([batch()], log.end_offset)
        log.sync()
        durable = log.synced.position
    with newest(imitation).open("ab") as file:
        file.write(b"torn" + other_segment)
    with opened(path=imitation) as log:
        assert log.torn_tail.position == durable


def test_a_repeated_recovery_changes_nothing(crashed: tuple[Path, list[bytes], list[int]], opened: OpenLog) -> None:
    source, payloads, _ = crashed
    with newest(source).open("ab") as file:
        file.write(b"TRFR and then nothing")
    for attempt in range(3):
        with opened(crash=True, path=source) as log:
            assert readable(log) == payloads
            assert (log.torn_tail is None) == (attempt > 0)


def test_cat_and_verify_read_a_crashed_copy_without_changing_it(crashed: tuple[Path, list[bytes], list[int]]) -> None:
    source, payloads, ends = crashed
    file = newest(source)
    file.write_bytes(file.read_bytes()[:-5])
    before = {path.name: path.read_bytes() for path in source.iterdir()}
    assert [frame.payload for frame in cat(source)] == payloads[:2]
    assert [frame.payload for frame in cat(source, start_offset=3)] == payloads[1:2]
    report = verify(source)
    assert report.is_sound
    assert [(problem.position, problem.is_damage) for problem in report.problems] == [(ends[1], False)]
    assert (report.start_offset, report.end_offset) == (0, 4)
    assert {path.name: path.read_bytes() for path in source.iterdir()} == before


@pytest.mark.parametrize("cut", ["inside a frame", "behind a frame"])
def test_cat_names_what_a_segment_lacks_that_is_not_the_newest(opened: OpenLog, batch: MakeBatch, tmp_path: Path, cut: str) -> None:
    with opened(segment_bytes=300) as log:
        for sequence in range(1, 7):
            log.append([batch(b"me", sequence, 1)], log.end_offset)
            log.sync()
    first, middle, *_ = sorted(tmp_path.glob("*.wal"))
    with first.open("rb+") as file:
        frames = [frame for frame in cat(tmp_path) if frame.end_offset <= SegmentName.parse(middle.name).first_offset]
        file.truncate(frames[-1].end - (5 if cut == "inside a frame" else 0))
    shown = []
    with pytest.raises(CorruptLogError, match=first.name):
        shown.extend(frame.payload for frame in cat(tmp_path))
    assert shown == [frame.payload for frame in (frames[:-1] if cut == "inside a frame" else frames)]


def test_damage_is_named_with_file_position_and_remedy(crashed: tuple[Path, list[bytes], list[int]], opened: OpenLog) -> None:
    source, _, ends = crashed
    file = newest(source)
    content = bytearray(file.read_bytes())
    content[ends[0] + 100] ^= 1
    file.write_bytes(content)
    with pytest.raises(CorruptLogError) as caught, opened(path=source):
        pass
    assert caught.value.file == SegmentName.parse(file.name).file
    assert caught.value.position == ends[0]
    assert "when these bytes were already durable" in str(caught.value)
    assert "move the log's directory away" in str(caught.value)
