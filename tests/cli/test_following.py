"""Files that grow, are renamed, truncated, packed and killed under the follower: each line is stored once."""

import gzip
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.following import Bench, Killed, MemoryIngest
from treering_cli.choosing import Choice, condition
from treering_cli.following.positions import Positions
from treering_cli.problems import Refusal

PADDING = "x" * 60
"""Lines are told apart by more than a kilobyte, as those of a log are."""


def lines(first: int, stop: int) -> list[Any]:
    return [f"2026-11-27T10:00:00Z INFO line {number} {PADDING}" for number in range(first, stop)]


def messages(first: int, stop: int) -> list[Any]:
    return [f"line {number} {PADDING}" for number in range(first, stop)]


def append(path: Path, first: int, stop: int, end: str = "\n") -> None:
    with path.open("a") as out:
        out.write("\n".join(lines(first, stop)) + end)


@pytest.fixture
def ingest() -> MemoryIngest:
    return MemoryIngest()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "app.log"


@pytest.fixture
def bench(tmp_path: Path, ingest: MemoryIngest, log: Path) -> Iterator[Bench]:
    log.parent.mkdir()
    made = Bench(tmp_path / "state", ingest, log)
    yield made
    made.kill()


def test_what_is_there_and_what_comes_is_sent_once(bench: Bench, ingest: MemoryIngest, log: Path) -> None:
    append(log, 0, 50)
    bench.begin().turns()
    append(log, 50, 60)
    bench.turns()
    assert ingest.messages == messages(0, 60)
    bench.kill()
    append(log, 60, 70)
    bench.begin().turns()
    assert ingest.messages == messages(0, 70)


def test_a_file_may_come_later(bench: Bench, ingest: MemoryIngest, log: Path) -> None:
    bench.begin().turns()
    append(log, 0, 3)
    bench.turns()
    assert ingest.messages == messages(0, 3)


def test_a_line_without_an_end_waits_for_it(bench: Bench, ingest: MemoryIngest, log: Path) -> None:
    append(log, 0, 2, end="")
    bench.begin().turns()
    assert ingest.messages == messages(0, 1)
    with log.open("a") as out:
        out.write(" and more\n")
    bench.turns()
    assert ingest.messages == [*messages(0, 1), *(f"{message} and more" for message in messages(1, 2))]


def test_joining_lines_are_waited_for_and_then_no_more(bench: Bench, ingest: MemoryIngest, log: Path) -> None:
    log.write_text("first\n\tat a\n")
    bench.begin()
    bench.follower.turn()
    assert ingest.messages == []
    bench.turns()
    assert ingest.messages == ["first\n\tat a"]


@pytest.mark.parametrize("fault", ["before", "after"])
def test_a_kill_around_a_batch_stores_it_once(bench: Bench, ingest: MemoryIngest, log: Path, fault: str) -> None:
    append(log, 0, 30)
    ingest.faults = [fault]
    bench.begin()
    with pytest.raises(Killed):
        bench.turns()
    bench.kill()
    # Other lines would be in the batch now, if it were read again.
    append(log, 30, 40)
    bench.begin().turns()
    assert ingest.messages == messages(0, 40)
    assert bench.shipping.uncertain == 0


def test_a_batch_that_was_sent_needs_its_file_no_more(bench: Bench, ingest: MemoryIngest, log: Path) -> None:
    append(log, 0, 30)
    ingest.faults = ["before"]
    bench.begin()
    with pytest.raises(Killed):
        bench.turns()
    bench.kill()
    log.unlink()
    bench.begin().turns()
    # the last one waited for lines that might join it
    assert ingest.messages == messages(0, 29)


def test_an_ingest_that_is_away_is_tried_again_with_the_same_bytes(bench: Bench, ingest: MemoryIngest, log: Path) -> None:
    append(log, 0, 3)
    ingest.faults = ["away", "lost", "away"]
    bench.begin().turns()
    assert ingest.messages == messages(0, 3)
    assert bench.shipping.accepted == 3


def test_an_ingest_that_forgot_the_sender_gets_what_it_never_had_once(bench: Bench, ingest: MemoryIngest, log: Path) -> None:
    append(log, 0, 3)
    bench.begin().turns()
    ingest.forget()
    append(log, 3, 6)
    bench.turns()
    assert ingest.messages == messages(0, 6)
    assert bench.shipping.uncertain == 0


def test_an_ingest_that_forgot_what_it_may_have_is_said(bench: Bench, ingest: MemoryIngest, log: Path) -> None:
    append(log, 0, 3)
    bench.begin().turns()
    append(log, 3, 6)
    ingest.faults = ["after"]
    with pytest.raises(Killed):
        bench.turns()
    bench.kill()
    ingest.forget()
    bench.begin().turns()
    assert ingest.messages == [*messages(0, 5), *messages(3, 6)]
    assert bench.shipping.uncertain == 2
    assert any("2 records may be stored twice" in words for words in bench.said)


def test_a_renamed_file_is_read_to_its_end(bench: Bench, ingest: MemoryIngest, log: Path) -> None:
    append(log, 0, 5)
    bench.begin().turns()
    append(log, 5, 8)
    log.rename(f"{log}.1")
    append(log, 8, 12)
    bench.turns()
    with (log.parent / "app.log.1").open("a") as out:  # its writer holds it open
        out.write("2026-11-27T10:00:00Z INFO late\n")
    bench.turns()
    assert sorted(ingest.messages) == sorted([*messages(0, 12), "late"])


@pytest.mark.parametrize("is_down", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_rotations_between_two_looks_lose_nothing(bench: Bench, ingest: MemoryIngest, log: Path, is_down: bool, packed: bool) -> None:
    (log.parent / "app.log.7").write_text("2026-11-20T10:00:00Z INFO nobody asked for it\n")
    os.utime(log.parent / "app.log.7", (1, 1))
    append(log, 0, 20)
    bench.begin().turns()
    if is_down:
        bench.kill()
    for number in range(3):
        append(log, 20 + 10 * number, 30 + 10 * number)
        rotate(log, packed=packed)
    append(log, 50, 55)
    if is_down:
        bench.begin()
    bench.turns(5)
    assert sorted(ingest.messages) == sorted(messages(0, 55))
    assert ingest.messages[:20] == messages(0, 20)
    bench.kill()
    bench.begin().turns(5)
    assert len(ingest.messages) == 55


def rotate(log: Path, *, packed: bool) -> None:
    """As logrotate does: app.log.2 becomes app.log.3, ..., app.log becomes app.log.1; older ones are packed at once."""
    for number in range(8, 0, -1):
        for suffix in ("", ".gz"):
            old = log.parent / f"{log.name}.{number}{suffix}"
            if old.exists():
                old.rename(log.parent / f"{log.name}.{number + 1}{suffix}")
    first = log.parent / f"{log.name}.1"
    log.rename(first)
    if packed:
        pack(first)


def pack(path: Path) -> None:
    status = path.stat()
    target = path.with_name(path.name + ".gz")
    target.write_bytes(gzip.compress(path.read_bytes()))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    path.unlink()


@pytest.mark.parametrize("is_down", [False, True])
def test_copytruncate_loses_and_doubles_nothing(bench: Bench, ingest: MemoryIngest, log: Path, is_down: bool) -> None:
    append(log, 0, 20)
    bench.begin().turns()
    append(log, 20, 25)
    if is_down:
        bench.kill()
    shutil.copy(log, f"{log}.1")
    os.truncate(log, 0)
    append(log, 25, 28)
    if is_down:
        bench.begin()
    bench.turns(5)
    assert sorted(ingest.messages) == sorted(messages(0, 28))


def test_a_file_that_was_truncated_and_is_longer_again_begins_anew(bench: Bench, ingest: MemoryIngest, log: Path) -> None:
    append(log, 0, 20)
    bench.begin().turns()
    os.truncate(log, 0)
    append(log, 100, 140)
    bench.turns(5)
    assert ingest.messages == messages(0, 20) + messages(100, 140)


def test_zero_bytes_of_a_writer_that_does_not_append_are_left_out(bench: Bench, ingest: MemoryIngest, log: Path) -> None:
    append(log, 0, 20)
    bench.begin().turns()
    size = log.stat().st_size
    os.truncate(log, 0)
    with log.open("r+b") as out:
        out.seek(size)
        out.write("".join(f"{line}\n" for line in lines(20, 22)).encode())
    bench.turns(5)
    assert ingest.messages == messages(0, 22)


def test_what_was_held_when_a_file_is_truncated_without_a_copy_is_kept(bench: Bench, ingest: MemoryIngest, log: Path) -> None:
    log.write_text("first\nsecond\n\tat a\n")
    bench.begin()
    bench.follower.turn()
    os.truncate(log, 0)
    bench.turns(5)
    assert ingest.messages == ["first", "second\n\tat a"]


def test_a_copy_of_a_file_that_is_followed_is_not_read(tmp_path: Path, ingest: MemoryIngest, log: Path) -> None:
    log.parent.mkdir()
    append(log, 0, 40)
    copy = log.parent / "app.log.1"
    bench = Bench(tmp_path / "state", ingest, log, copy)
    bench.begin().turns()
    copy.write_bytes(log.read_bytes()[:2000])
    bench.turns()
    shutil.copy(log, copy)
    bench.turns()
    bench.kill()
    assert ingest.messages == messages(0, 40)


def test_a_packed_file_that_is_being_written_is_left_until_it_is_whole(tmp_path: Path, ingest: MemoryIngest, log: Path) -> None:
    log.parent.mkdir()
    packed = log.parent / "other.log.gz"
    whole = gzip.compress("".join(f"{line}\n" for line in lines(0, 200)).encode())
    bench = Bench(tmp_path / "state", ingest, packed)
    bench.begin()
    for size in (5, 60, len(whole) - 3):
        packed.write_bytes(whole[:size])
        bench.turns()
    assert ingest.messages == []
    packed.write_bytes(whole)
    bench.turns(40)
    bench.kill()
    assert ingest.messages == messages(0, 200)


def test_a_part_of_a_packed_copy_is_not_taken_for_another_file(bench: Bench, ingest: MemoryIngest, log: Path) -> None:
    append(log, 0, 50)
    bench.begin().turns()
    part, packed = log.parent / "app.log.1", log.parent / "app.log.1.gz"
    log.rename(part)
    append(log, 50, 52)
    bench.turns(2)
    with packed.open("wb") as raw, gzip.open(raw, "wb") as out:
        out.write(part.read_bytes()[:300])
        out.flush()
        raw.flush()
        bench.turns(2)
        out.write(part.read_bytes()[300:])
    part.unlink()
    bench.turns(40)
    assert ingest.messages == messages(0, 52)


def test_two_files_with_the_same_first_lines_are_two(bench: Bench, ingest: MemoryIngest, log: Path) -> None:
    log.write_text("server started\n")
    bench.begin().turns()
    log.rename(f"{log}.1")
    log.write_text("server started\n")
    bench.turns()
    bench.kill()
    assert ingest.messages == ["server started"] * 2
    log.rename(f"{log}.2")
    log.write_text("server started\nready\n")
    bench.begin().turns(5)
    assert ingest.messages == [*["server started"] * 3, "ready"]


def test_headers_are_known_where_reading_goes_on(bench: Bench, ingest: MemoryIngest, log: Path) -> None:
    log.write_text("#Fields: date time cs-method cs-uri-stem sc-status\n2026-11-20 10:00:00 GET /a 200\n")
    bench.begin().turns()
    bench.kill()
    with log.open("a") as out:
        out.write("2026-11-20 10:00:01 GET /b 503\n")
    bench.begin().turns()
    assert [record.attributes.get("sc-status") or record.attributes.get("status") for record in ingest.records[-2:]] == ["200", "503"]


@pytest.mark.parametrize("fault", ["before", "after"])
@pytest.mark.parametrize("bracket", ["[", "[\n"])
def test_a_line_that_holds_many_records_gives_each_of_them_once(
    bench: Bench, ingest: MemoryIngest, log: Path, fault: str, bracket: str
) -> None:
    many = [f"record {number} {PADDING}" for number in range(12_000)]
    log.write_text("first\n" + json.dumps([{"msg": message} for message in many]).replace("[", bracket, 1) + "\nlast\n")
    ingest.faults = ["", fault]
    bench.begin()
    with pytest.raises(Killed):
        bench.turns()
    bench.kill()
    bench.begin().turns()
    assert ingest.messages == ["first", *many, "last"]
    assert ingest.batches > 2


def test_what_is_left_out_is_counted_and_not_read_again(tmp_path: Path, ingest: MemoryIngest, log: Path) -> None:
    log.parent.mkdir()
    choice = Choice([condition("--drop", "message~=line [0-4] ")], [])
    bench = Bench(tmp_path / "state", ingest, log, choice=choice)
    append(log, 0, 6)
    bench.begin().turns()
    bench.kill()
    bench.begin().turns()
    bench.kill()
    assert (ingest.messages, choice.left_out) == (messages(5, 6), 5)


def test_a_record_that_is_too_large_is_said_and_passed(bench: Bench, ingest: MemoryIngest, log: Path) -> None:
    log.write_text(f"one\n{'y' * (1024 * 1024 + 1)}\ntwo\n")
    bench.begin().turns()
    assert ingest.messages == ["one", "two"]
    assert bench.follower.too_large == 1
    assert any(f"{log}:2: rejected" in words for words in bench.said)


def test_once_adds_only_what_is_new_whatever_the_name(tmp_path: Path, ingest: MemoryIngest, log: Path) -> None:
    log.parent.mkdir()
    other = log.parent / "other.log"
    append(log, 0, 5)
    bench = Bench(tmp_path / "state", ingest, log, other)
    bench.once()
    append(log, 5, 8)
    bench.once()
    shutil.copy(log, other)
    append(other, 8, 9)
    bench.once()
    assert ingest.messages == messages(0, 9)


def test_once_takes_a_last_line_without_an_end_and_its_rest_later(tmp_path: Path, ingest: MemoryIngest, log: Path) -> None:
    log.parent.mkdir()
    log.write_text("one\ntwo")
    bench = Bench(tmp_path / "state", ingest, log).once()
    assert ingest.messages == ["one", "two"]
    log.write_text("one\ntwo\nthree\n")
    bench.once()
    assert ingest.messages == ["one", "two", "three"]


def test_positions_have_one_user_at_a_time(bench: Bench, tmp_path: Path) -> None:
    bench.begin()
    with pytest.raises(Refusal, match="give this one its own: --state-dir"):
        Positions(tmp_path / "state")


def test_a_batch_on_its_way_is_never_replaced(bench: Bench, log: Path) -> None:
    append(log, 0, 3)
    bench.begin().turns()
    from treering_cli.following.positions import Pending  # noqa: PLC0415

    bench.positions.begin(Pending(2, b"a"), [])
    with pytest.raises(Exception, match="UNIQUE"):
        bench.positions.begin(Pending(3, b"b"), [])
