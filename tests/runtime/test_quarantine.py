import contextlib
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Never

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hostile_requests import Bad
from treering.v1.batch_pb2 import LogBatch
from treering.v1.log_pb2 import LogRecord
from treering.v1.sink_pb2 import DeliveredFrame
from treering_runtime import quarantine
from treering_runtime.crash_notes import ALONE_AFTER, UNREAD_AFTER, CrashNotes
from treering_runtime.limits import MAX_REASON_CHARACTERS
from treering_runtime.quarantine import FrameReader, Quarantined

LOG = 2**64 - 7


def frame(first: int, messages: str | list[str] | list[Any], prefix: bytes = b"") -> DeliveredFrame:
    payload = prefix + LogBatch(records=[LogRecord(message=message) for message in messages]).SerializeToString()
    return DeliveredFrame(first_offset=first, record_count=len(messages), arrival_time_unix_nano=5, payload=payload)


class Reads:
    """Reads messages; some words are more than it can bear."""

    def __init__(self) -> None:
        self.calls = []
        self.fatal = set()

    def __call__(self, log_id: int, frames: Any, skip_below: Any) -> list[tuple[int, str]]:
        self.calls.append([each.first_offset for each in frames])
        messages = []
        for each in frames:
            for offset, record in enumerate(LogBatch.FromString(each.payload).records, each.first_offset):
                if record.message in self.fatal:
                    raise {"bug": KeyError, "memory": MemoryError, "disk": OSError, "panic": BaseException}[record.message]
                if record.message.startswith("bad"):
                    raise ValueError(f"{record.message} cannot be read")
                if offset >= skip_below:
                    messages.append((offset, record.message))
        return messages


@pytest.fixture
def open_notes(tmp_path: Path) -> Iterator[Any]:
    opened = []

    def opens(settled: dict[int, int] | None = None) -> Any:
        for each in opened:
            each.close()
        opened[:] = [CrashNotes(tmp_path / "reading", settled or {})]
        return opened[0]

    yield opens
    for each in opened:
        each.close()


def flat(parts: list[list[tuple[int, str]]] | list[Any]) -> list[Any]:
    return [pair for part in parts for pair in part]


def test_good_frames_are_read_together_in_one_call(open_notes: Any) -> None:
    read = Reads()
    parts, bad = FrameReader(read, open_notes()).take(LOG, [frame(0, "ab"), frame(2, "c")], 0)
    assert (flat(parts), bad, read.calls) == ([(0, "a"), (1, "b"), (2, "c")], [], [[0, 2]])


@pytest.mark.parametrize("place", range(7))
def test_one_bad_record_is_set_aside_alone_with_its_bytes_as_they_came(open_notes: Any, place: Callable[[range], int]) -> None:
    messages = [f"m{number}" for number in range(7)]
    messages[place] = "bad one"
    strange = b"\x92\x03\x01x" + b"\x08\x96\x01" + b"\x21" + b"12345678" + b"\x25" + b"1234"  # fields of a newer sender
    strange += b"\xa3\x01" + b"\xab\x01" + b"\x1a\x01x" + b"\xac\x01" + b"\xa4\x01"  # and groups
    frames = [frame(10, messages[:3], strange), frame(13, messages[3:])]
    parts, bad = FrameReader(Reads(), open_notes()).take(LOG, frames, 0)
    assert flat(parts) == [(10 + number, message) for number, message in enumerate(messages) if number != place]
    raw = LogBatch(records=[LogRecord(message="bad one")]).SerializeToString()
    assert bad == [Quarantined(LOG, 10 + place, 1, 5, "bad one cannot be read", raw)]


def test_what_holds_for_the_batch_stays_with_a_record_that_is_set_aside(open_notes: Any) -> None:
    resource = {"host.name": "db-1", "k": "v"}
    frames = [frame(0, ["a", "bad one", "b"], LogBatch(resource=resource).SerializeToString())]
    _, bad = FrameReader(Reads(), open_notes()).take(LOG, frames, 0)
    assert [LogBatch.FromString(item.payload) for item in bad] == [LogBatch(records=[LogRecord(message="bad one")], resource=resource)]


def test_a_batch_whose_resource_would_be_copied_many_times_is_set_aside_whole(open_notes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = LogBatch(resource={"k": "v" * 100}).SerializeToString()
    frames = [frame(0, ["a", "bad one", "b"], shared), frame(3, ["c"])]
    for most, expected in ((3 * len(shared), [1]), (3 * len(shared) - 1, [3])):
        monkeypatch.setattr(quarantine, "MAX_COPIED_RESOURCE_BYTES", most)
        parts, bad = FrameReader(Reads(), open_notes()).take(LOG, frames, 0)
        assert [item.record_count for item in bad] == expected
        assert flat(parts)[-1] == (3, "c")


def test_many_bad_records_are_set_aside_each_for_itself(open_notes: Any) -> None:
    messages = ["bad" if number % 3 == 0 else "good" for number in range(50)]
    parts, bad = FrameReader(Reads(), open_notes()).take(LOG, [frame(0, messages)], 0)
    assert [item.first_offset for item in bad] == list(range(0, 50, 3))
    assert [offset for offset, _ in flat(parts)] == [number for number in range(50) if number % 3]


@pytest.mark.parametrize("payload", [b"\xff", b"\xff" * 100, b"\x1a\x7fx", b"\x1b", b"\x1b\x24", b"\x1a\x02", frame(0, "abcd").payload])
def test_a_frame_that_does_not_fall_into_its_records_is_set_aside_whole(open_notes: Any, payload: bytes) -> None:
    def read(log_id: int, frames: Sequence[DeliveredFrame], skip_below: int) -> list[Any]:
        if any(each.payload == payload for each in frames):
            raise ValueError("no")
        return [each.first_offset for each in frames]

    broken = DeliveredFrame(first_offset=1, record_count=3, arrival_time_unix_nano=9, payload=payload)
    parts, bad = FrameReader(read, open_notes()).take(LOG, [frame(0, "a"), broken, frame(4, "b")], 0)
    assert (flat([parts]), bad) == ([[0], [4]], [Quarantined(LOG, 1, 3, 9, "no", payload)])


def test_what_is_below_the_offset_is_neither_read_twice_nor_set_aside(open_notes: Any) -> None:
    parts, bad = FrameReader(Reads(), open_notes()).take(LOG, [frame(0, ["bad a", "b", "bad c"])], 1)
    assert (flat(parts), [item.first_offset for item in bad]) == ([(1, "b")], [2])


@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    bad=st.sets(st.integers(0, 23)),
    skip=st.integers(0, 26),
    first=st.integers(0, 3),
)
def test_exactly_what_cannot_be_read_is_set_aside_and_the_rest_taken_once(
    tmp_path_factory: pytest.TempPathFactory, sizes: Any, bad: Bad, skip: Any, first: int
) -> None:
    ends = list(itertools.accumulate(sizes, initial=first))
    texts = {offset: f"{'bad' if offset in bad else 'good'} {offset}" for offset in range(first, ends[-1])}
    frames = [frame(begin, [texts[offset] for offset in range(begin, end)]) for begin, end in itertools.pairwise(ends)]
    with contextlib.closing(CrashNotes(tmp_path_factory.mktemp("notes") / "reading", {})) as notes:
        parts, aside = FrameReader(Reads(), notes).take(LOG, frames, skip)
    wanted = range(max(first, skip), ends[-1])
    assert flat(parts) == [(offset, texts[offset]) for offset in wanted if offset not in bad]
    assert [(item.first_offset, item.record_count) for item in aside] == [(offset, 1) for offset in wanted if offset in bad]
    assert [LogBatch.FromString(item.payload).records[0].message for item in aside] == [texts[o] for o in wanted if o in bad]


def test_a_frame_that_is_set_aside_whole_leaves_out_what_was_taken_before(open_notes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = LogBatch(resource={"k": "v"}).SerializeToString()
    monkeypatch.setattr(quarantine, "MAX_COPIED_RESOURCE_BYTES", 0)
    frames = [frame(4, ["taken", "bad one", "c"], shared)]
    reader = FrameReader(Reads(), open_notes())
    parts, [item] = reader.take(LOG, frames, 5)
    assert (flat(parts), item.first_offset, item.record_count) == ([], 5, 2)
    rest = LogBatch.FromString(item.payload)
    assert ([record.message for record in rest.records], dict(rest.resource)) == (["bad one", "c"], {"k": "v"})
    assert reader.take(LOG, frames, 7) == ([], [])


def test_a_frame_that_is_not_read_leaves_out_what_was_taken_before(open_notes: Any) -> None:
    frames = [frame(4, ["taken", "b", "c"])]
    for _ in range(UNREAD_AFTER):
        crash(open_notes(), {4}, frames)
    _, [item] = FrameReader(Reads(), open_notes()).take(LOG, frames, 5)
    assert (item.first_offset, item.record_count) == (5, 2)
    assert flat(FrameReader(Reads(), open_notes()).again([item])[0]) == [(5, "b"), (6, "c")]


def test_read_again_stores_what_can_be_read_now_and_takes_frames_apart(open_notes: Any) -> None:
    whole = Quarantined(LOG, 4, 3, 5, "not read", frame(4, ["a", "bad", "c"]).payload)
    parts, bad = FrameReader(Reads(), open_notes()).again([whole])
    assert (flat(parts), [(item.first_offset, item.record_count) for item in bad]) == ([(4, "a"), (6, "c")], [(5, 1)])


@pytest.mark.parametrize("fault", ["memory", "disk"])
def test_a_fault_of_the_environment_is_tried_again_for_ever(open_notes: Any, fault: str) -> None:
    read = Reads()
    read.fatal = {fault}
    reader = FrameReader(read, open_notes())
    for _ in range(3 * UNREAD_AFTER):
        with pytest.raises((MemoryError, OSError)):
            reader.take(LOG, [frame(0, [fault])], 0)
    read.fatal = set()
    assert flat(reader.take(LOG, [frame(0, [fault])], 0)[0]) == [(0, fault)]


@pytest.mark.parametrize(("fault", "error"), [("bug", KeyError), ("panic", RuntimeError)])
def test_an_error_that_nobody_foresaw_counts_as_a_crash(open_notes: Any, fault: str, error: type[KeyError] | type[RuntimeError]) -> None:
    read = Reads()
    read.fatal = {fault}
    reader = FrameReader(read, open_notes())
    frames = [frame(0, ["good", "fine"]), frame(2, [fault, "innocent"]), frame(4, ["well"])]
    for _ in range(UNREAD_AFTER):
        with pytest.raises(error):
            reader.take(LOG, frames, 0)
    parts, [bad] = reader.take(LOG, frames, 0)
    assert flat(parts) == [(0, "good"), (1, "fine"), (4, "well")]
    assert (bad.first_offset, bad.record_count, bad.payload) == (2, 2, frames[1].payload)
    assert f"{UNREAD_AFTER} times" in bad.reason


def crash(notes: Any, read: set[Any], frames: list[DeliveredFrame] | list[Any]) -> list[Any] | None:
    """Reads as a process does that ends in the middle: the note stays."""
    for group, crashes in notes.groups(LOG, frames):
        if crashes >= UNREAD_AFTER:
            continue
        reading = notes.reading(LOG, group)
        reading.__enter__()
        if any(each.first_offset in read for each in group):
            return [each.first_offset for each in group]
        reading.__exit__(None, None, None)
    return None


def test_a_frame_that_ends_the_process_is_taken_alone_and_then_left_unread(open_notes: Any) -> None:
    frames = [frame(number, "x") for number in range(6)]
    blamed = []
    while (group := crash(open_notes(), {3}, frames)) is not None:
        blamed.append(group)
    assert blamed == [list(range(6))] * ALONE_AFTER + [[3]] * (UNREAD_AFTER - ALONE_AFTER)
    read = Reads()
    parts, bad = FrameReader(read, open_notes()).take(LOG, frames, 0)
    assert [offset for offset, _ in flat(parts)] == [0, 1, 2, 4, 5]
    assert [item.first_offset for item in bad] == [3]


def test_deliveries_that_are_cut_differently_still_find_the_frame(open_notes: Any) -> None:
    cuts = [range(8), range(2, 8), range(3, 6), range(3, 8), range(3, 8)]
    for cut in cuts:
        assert crash(open_notes(), {3}, [frame(number, "x") for number in cut]) is not None
    assert crash(open_notes(), {3}, [frame(number, "x") for number in range(8)]) is None


def test_a_process_that_is_killed_again_and_again_sets_nothing_aside_that_can_be_read(open_notes: Any) -> None:
    frames = [frame(number, "x") for number in range(4)]
    for _ in range(3 * UNREAD_AFTER):
        crash(open_notes(), {0}, frames)  # a kill from outside, in the middle of reading
        crash(open_notes(), set(), frames)  # the next one reads it well
    _, bad = FrameReader(Reads(), open_notes()).take(LOG, frames, 0)
    assert bad == []


def test_what_is_durable_is_no_suspect_any_more(open_notes: Any) -> None:
    for _ in range(UNREAD_AFTER):
        crash(open_notes(), {0}, [frame(0, "x")])
    assert list(open_notes({LOG: 1}).groups(LOG, [frame(0, "x")])) == [([frame(0, "x")], 0)]


@pytest.mark.parametrize("damage", [b"", b"\xff" * 700, b"short"])
def test_notes_that_a_power_cut_left_in_pieces_accuse_nobody(open_notes: Any, tmp_path: Path, damage: bytes) -> None:
    crash(open_notes(), {0}, [frame(0, "x")])
    (tmp_path / "reading").write_bytes(damage)
    assert list(open_notes().groups(LOG, [frame(0, "x")])) == [([frame(0, "x")], 0)]


def test_many_suspects_keep_the_worst(open_notes: Any) -> None:
    for _ in range(ALONE_AFTER):
        crash(open_notes(), {1_000}, [frame(1_000, "x")])
    for number in range(40):
        crash(open_notes(), {number}, [frame(number, "x")])
    assert [crashes for _, crashes in open_notes().groups(LOG, [frame(1_000, "x")])] == [ALONE_AFTER]


def test_a_delivery_costs_no_sync(open_notes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = FrameReader(Reads(), open_notes())
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, lambda _: pytest.fail("a sync"))
    assert reader.take(LOG, [frame(0, "a")], 0)[1] == []


def test_a_long_reason_is_cut(open_notes: Any) -> None:
    def refuse(_log_id: int, frames: Sequence[DeliveredFrame], _skip_below: int) -> Never:
        raise ValueError("x" * 1_000_000)

    _, [bad] = FrameReader(refuse, open_notes()).take(1, [frame(0, ["a"])], 0)
    assert len(bad.reason) == MAX_REASON_CHARACTERS
