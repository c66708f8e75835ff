"""What every implementation of `DurableLog` must do, whatever it keeps the log in.

A subclass gives the fixture `place`: an object with `opened()`, the log as a new process would open it, and `outlives`, whether what was
synced is there again then.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.ingest.batches import make_batch
from tests.ingest.memory_log import MemoryLog
from treering_ingest.durable_log import Batch, StoredBatch, WrongEndError


def appended(log: MemoryLog, *batches: Batch) -> list[int]:
    """Appends a group where the log ends, and makes it durable."""
    ends = log.append(batches, log.end_offset)
    log.sync()
    return ends


def followed(log: MemoryLog, offset: int = 0, max_bytes: int = 100) -> list[Any]:
    """All that is durable from an offset on, in pieces."""
    follower = log.follow(offset)
    try:
        found = []
        while more := follower.read(max_bytes):
            found += more
        return found
    finally:
        follower.close()


def spans(stored: Sequence[StoredBatch]) -> list[Any]:
    return [(each.first_offset, each.end_offset) for each in stored]


class DurableLogSuite:
    def test_a_new_log_is_empty_and_has_an_id(self, place: Any) -> None:
        log = place.opened()
        assert log.log_id
        assert (log.start_offset, log.end_offset, log.durable_offset, log.has_unsynced) == (0, 0, 0, False)
        assert followed(log) == []

    def test_groups_are_read_back_in_order_as_they_came(self, place: Any) -> None:
        log = place.opened()
        one, two, three = make_batch(count=3, arrival=5), make_batch(count=1), make_batch(count=2)
        assert appended(log, one, two) == [3, 4]
        assert appended(log, three) == [6]
        found = followed(log)
        assert spans(found) == [(0, 3), (3, 4), (4, 6)]
        assert [each.payload for each in found] == [one.payload, two.payload, three.payload]
        assert found[0].arrival_time_unix_nano == 5

    def test_what_is_not_synced_is_not_read(self, place: Any) -> None:
        log = place.opened()
        log.append([make_batch(count=2)], 0)
        assert (log.end_offset, log.durable_offset, log.has_unsynced) == (2, 0, True)
        assert followed(log) == []
        log.sync()
        assert (log.durable_offset, log.has_unsynced) == (2, False)
        assert spans(followed(log)) == [(0, 2)]

    @pytest.mark.parametrize("believed", [0, 2, 4, 1 << 60])
    def test_a_writer_that_believes_in_another_end_writes_nothing(self, place: Any, believed: int) -> None:
        log = place.opened()
        appended(log, make_batch(count=3))
        with pytest.raises(WrongEndError, match="ends at offset 3"):
            log.append([make_batch()], believed)
        assert appended(log, make_batch()) == [4]
        assert spans(followed(log)) == [(0, 3), (3, 4)]

    def test_a_batch_without_records_keeps_its_producers_place_and_is_read_by_nobody(self, place: Any) -> None:
        log = place.opened()
        assert appended(log, make_batch(b"me", 1), make_batch(b"me", 2, count=0), make_batch(b"me", 3)) == [1, 1, 2]
        assert log.producers.last_sequence(b"me") == 3
        assert spans(followed(log)) == [(0, 1), (1, 2)]

    def test_a_follower_goes_on_with_what_comes(self, place: Any) -> None:
        log = place.opened()
        follower = log.follow(0)
        assert follower.read(100) == []
        appended(log, make_batch())
        assert spans(follower.read(100)) == [(0, 1)]
        assert follower.read(100) == []
        appended(log, make_batch(count=2))
        assert spans(follower.read(100)) == [(1, 3)]
        follower.close()

    def test_from_the_middle_of_a_batch_the_whole_batch_is_read(self, place: Any) -> None:
        log = place.opened()
        appended(log, make_batch(count=3), make_batch(count=3))
        assert spans(followed(log, 4)) == [(3, 6)]

    def test_each_end_has_a_link_and_ranges_join(self, place: Any) -> None:
        log = place.opened()
        for _ in range(6):
            appended(log, make_batch(), make_batch(count=2))
        links = {each.end_offset: each.link for each in followed(log)}
        assert len(set(links.values())) == len(links)
        for end, link in links.items():
            follower = log.follow(end)
            assert follower.link_before() == link
            follower.close()
        follower, before = log.follow(0), 0
        while (part := follower.read_range(100)).frames:
            assert part.link_before == before
            before = part.frames[-1].link
        follower.close()

    def test_links_say_what_was_written(self, place: Any) -> None:
        log = place.opened()
        appended(log, make_batch(text="one"), make_batch(text="two"))
        first, second = followed(log)
        follower = log.follow(2)
        assert follower.link_before() == second.link != first.link
        follower.close()
        within = log.follow(1 << 40)
        assert within.link_before() is None
        within.close()

    def test_what_nobody_needs_is_released_oldest_first_and_never_more(self, place: Any) -> None:
        log = place.opened()
        for _ in range(40):
            appended(log, make_batch(text="x" * 40))
        assert log.release(0) == 0
        assert log.release(20)
        assert 0 < log.start_offset <= 20
        assert spans(followed(log))[0][0] == log.start_offset == spans(followed(log, 3))[0][0]
        assert followed(log)[-1].end_offset == log.end_offset == 40
        size = log.state.size_bytes
        assert log.release(40, min_bytes=size) == 0
        assert log.state.size_bytes == size

    def test_a_follower_below_the_start_goes_on_there(self, place: Any) -> None:
        log = place.opened()
        follower = log.follow(0)
        for _ in range(40):
            appended(log, make_batch(text="x" * 40))
        log.release(20)
        found = follower.read(1 << 20)
        assert found[0].first_offset in {0, log.start_offset}
        assert spans(found) == [(each.first_offset, each.first_offset + 1) for each in found]
        follower.close()

    def test_the_state_counts(self, place: Any) -> None:
        log = place.opened()
        before = log.state
        appended(log, make_batch(text="y" * 1_000))
        after = log.state
        assert after.size_bytes >= before.size_bytes + 1_000
        assert (after.part_count >= 1, after.sync_count) == (True, before.sync_count + 1)

    def test_opened_again_it_goes_on_where_it_was(self, place: Any) -> None:
        if not place.outlives:
            pytest.skip("it promises nothing beyond the process")
        log = place.opened()
        appended(log, make_batch(b"me", 1, count=3), make_batch(b"you", 1))
        found, log_id = followed(log), log.log_id
        log.close()
        again = place.opened()
        assert (again.log_id, again.start_offset, again.end_offset, again.durable_offset) == (log_id, 0, 4, 4)
        assert [again.producers.last_sequence(who) for who in (b"me", b"you", b"nobody")] == [1, 1, 0]
        assert [(each.payload, each.link) for each in followed(again)] == [(each.payload, each.link) for each in found]
        assert appended(again, make_batch(b"me", 2)) == [5]

    @pytest.mark.parametrize("seed", range(8))
    def test_any_order_of_steps_gives_what_a_list_gives(self, place: Any, seed: Callable[[range], int]) -> None:
        history = History(place, random.Random(seed))
        for _ in range(60):
            history.step()
        history.check(0)


class History:
    """Random steps of a log, beside a list of (first offset, end offset, payload)."""

    def __init__(self, place: Any, chance: random.Random) -> None:
        self._place, self._chance = place, chance
        self._log = place.opened()
        self._expected = []
        self._synced = 0

    def step(self) -> None:
        steps = [self.append, self.append, self.sync, self.release, lambda: self.check(self._chance.randint(0, self._synced))]
        self._chance.choice([*steps, *([self.open_again] if self._place.outlives else [])])()

    def append(self) -> None:
        group = [make_batch(count=self._chance.randint(1, 4), text=f"{self._log.end_offset}") for _ in range(self._chance.randint(1, 3))]
        ends = self._log.append(group, self._log.end_offset)
        assert ends[-1] == self._log.end_offset == self._synced_or_not() + sum(each.record_count for each in group)
        self._expected += [(end - each.record_count, end, each.payload) for end, each in zip(ends, group, strict=True)]

    def _synced_or_not(self) -> int:
        return self._expected[-1][1] if self._expected else 0

    def sync(self) -> None:
        self._log.sync()
        self._synced = self._log.end_offset

    def release(self) -> None:
        self._log.release(self._chance.randint(0, self._synced))

    def open_again(self) -> None:
        self._log.close()
        self._log = self._place.opened()
        self._synced = self._log.end_offset

    def check(self, start: int) -> None:
        assert self._synced <= self._log.durable_offset <= self._log.end_offset
        found = [(each.first_offset, each.end_offset, each.payload) for each in followed(self._log, start)]
        floor = max(start, self._log.start_offset)
        assert found == [each for each in self._expected if floor < each[1] <= self._log.durable_offset]
