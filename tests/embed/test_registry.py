import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from treering_embed.registry.ledgers import CurrentLedger
from treering_embed.registry.registry import RegisteredPattern, Registry
from treering_runtime.errors import StartError
from treering_runtime.quarantine import Quarantined

LOG = 2**64 - 5
HUGE = 2**64 - 1
DAY = 86_400


def pattern(number: int, offset: int = 0) -> RegisteredPattern:
    return RegisteredPattern(number, "api", f"text {number}", f"example {number}", LOG, offset)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    opened = Registry(tmp_path / "registry.sqlite")
    yield opened
    opened.close()


def commit(
    registry: Registry,
    patterns: list[Any] | tuple[()] = (),
    next_offset: int = 10,
    last_seen: dict[Any, Any] | None = None,
    quarantined: list[Any] | tuple[()] = (),
    now: int = DAY * 20000,
) -> None:
    seen = {(LOG, key): end for key, end in (last_seen or {}).items()}
    registry.commit({LOG: next_offset}, patterns, seen, quarantined, day=20_000, now=now, mask_version=1)


def test_ids_of_64_bits_without_a_sign_survive(registry: Registry) -> None:
    commit(registry, [pattern(HUGE), pattern(1 << 63), pattern(1)])
    assert registry.summary(20_000).pattern_ids == {HUGE, 1 << 63, 1}
    assert [p.pattern_id for p in CurrentLedger(registry.db).pending(10)] == [HUGE, 1 << 63, 1]
    assert CurrentLedger(registry.db).pending(1)[0] == pattern(HUGE)


def test_summary_after_reopening_is_what_was_committed(tmp_path: Path) -> None:
    first = Registry(tmp_path / "r.sqlite")
    commit(first, [pattern(1, 3), pattern(2, 7)], next_offset=9, quarantined=[Quarantined(LOG, 8, 4, 1, "bad", b"x")])
    CurrentLedger(first.db).mark({1: ""}, b"counts")
    first.close()
    second = Registry(tmp_path / "r.sqlite")
    summary = second.summary(20_000)
    assert summary.next_offsets == {LOG: 9}
    assert summary.pending == [(2, LOG, 7)]
    assert summary.quarantined == {LOG: 4}
    assert summary.registered_today == {"api": 2}
    assert second.summary(20_001).registered_today == {}
    assert CurrentLedger(second.db).frequencies() == b"counts"
    assert CurrentLedger(second.db).indexed_ids() == {1}
    second.close()


@pytest.mark.parametrize("gone", [lambda registry: registry.evict(2, proven_places=0), lambda registry: registry.forget([1, 2], {LOG: 50})])
def test_patterns_that_are_gone_count_for_the_cap_of_their_day_after_a_restart(tmp_path: Path, gone: Callable[[Any], Any]) -> None:
    first = Registry(tmp_path / "r.sqlite")
    commit(first, [pattern(1), pattern(2), pattern(3)])
    assert sorted(gone(first)) == [1, 2]
    first.close()
    second = Registry(tmp_path / "r.sqlite")
    assert second.summary(20_000).registered_today == {"api": 3}
    second.commit({LOG: 11}, [pattern(4)], {}, (), day=20_001, now=DAY * 20_001, mask_version=1)
    assert second.summary(20_001).registered_today == {"api": 1}
    second.evict(2, proven_places=0)
    assert second.summary(20_001).registered_today == {"api": 1}
    assert second.db.execute("select day, count from gone").fetchall() == [(20_001, 1)]
    second.close()


def test_committing_the_same_pattern_twice_keeps_the_first(registry: Registry) -> None:
    commit(registry, [pattern(1, 3)])
    commit(registry, [pattern(1, 99)])
    assert [p.first_offset for p in CurrentLedger(registry.db).pending(10)] == [3]


def test_a_failed_commit_leaves_nothing_behind(registry: Registry) -> None:
    broken = RegisteredPattern(5, None, "t", "e", LOG, 0)
    with pytest.raises(sqlite3.IntegrityError):
        registry.commit({LOG: 50}, [pattern(4), broken], {}, [], day=1, now=DAY, mask_version=1)
    assert registry.summary(1).next_offsets == {}
    assert CurrentLedger(registry.db).pending(10) == [] or {p.pattern_id for p in CurrentLedger(registry.db).pending(10)} == set()


def test_forget_keeps_what_was_seen_since(registry: Registry) -> None:
    commit(registry, [pattern(1), pattern(2)], last_seen={1: 10, 2: 11})
    assert registry.forget([1, 2, 3], {LOG: 10}) == [1]
    assert registry.forget([2], {LOG + 1: 100}) == []
    assert registry.summary(1).pattern_ids == {2}


def test_forget_compares_each_log_with_its_own_end(registry: Registry) -> None:
    other = 8
    commit(registry, [pattern(number) for number in (1, 2, 3)], last_seen={1: 10, 2: 10, 3: 10})
    registry.commit({other: 90}, [], {(other, 1): 90, (other, 2): 70}, [], day=20_000, now=DAY * 20_000, mask_version=1)
    assert registry.forget([1, 2, 3], {LOG: 9, other: 99}) == []
    assert registry.forget([1, 2], {LOG: 99}) == []
    assert registry.forget([1, 2], {LOG: 10, other: 80}) == [2]
    assert sorted(registry.forget([1, 3], {LOG: 10, other: 90})) == [1, 3]
    assert registry.db.execute("select count(*) from other_logs").fetchone() == (0,)


def test_a_registry_of_an_earlier_version_takes_its_patterns_for_seen_in_each_log(tmp_path: Path) -> None:
    with contextlib.closing(Registry(tmp_path / "r.sqlite")) as older:
        commit(older, [pattern(1)], next_offset=10)
        older.commit({8: 500}, [RegisteredPattern(2, "api", "t", "e", 8, 3)], {}, [], day=20_000, now=DAY * 20_000, mask_version=1)
        older.db.execute("drop table other_logs")
        older.db.execute("update patterns set last_offset = 400")  # of log 8, in which both were seen last
    with contextlib.closing(Registry(tmp_path / "r.sqlite")) as reopened:
        assert reopened.forget([1, 2], {LOG: 9, 8: 500}) == []
        assert reopened.forget([1, 2], {LOG: 10, 8: 499}) == [2]
        assert reopened.forget([1], {LOG: 10, 8: 500}) == [1]


def test_a_file_that_is_no_database_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "r.sqlite").write_bytes(b"not a database at all, but long enough to be looked at" * 50)
    with pytest.raises(StartError, match=r"r\.sqlite"):
        Registry(tmp_path / "r.sqlite")


def test_forgetting_much_of_many_logs_is_one_short_statement(registry: Registry) -> None:
    commit(registry, [pattern(number) for number in range(1, 2_001)])
    registry.forget([HUGE], {})
    below = {LOG + number: 2**64 - 1 for number in range(64)}
    assert sorted(registry.forget(range(1, 10_001), below)) == list(range(1, 2_001))
    assert registry.summary(20_000).pattern_ids == set()


def test_the_link_of_the_progress_is_kept_with_it_and_goes_when_it_is_unknown(tmp_path: Path) -> None:
    with contextlib.closing(Registry(tmp_path / "r.sqlite")) as registry:
        registry.commit({LOG: 9, 1: 4}, [], {}, [], day=1, now=DAY, mask_version=1, links={LOG: HUGE})
        assert registry.summary(1).links == {LOG: HUGE}
    with contextlib.closing(Registry(tmp_path / "r.sqlite")) as registry:
        assert registry.summary(1).links == {LOG: HUGE}
        registry.commit({LOG: 10}, [], {}, [], day=1, now=DAY, mask_version=1)
        assert registry.summary(1).links == {}


def test_a_registry_of_an_earlier_version_opens_without_links(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "r.sqlite")) as old:
        old.execute("create table progress (log_id integer primary key, next_offset integer not null)")
        old.execute("insert into progress values (7, 30)")
        old.commit()
    with contextlib.closing(Registry(tmp_path / "r.sqlite")) as registry:
        assert (registry.summary(1).next_offsets, registry.summary(1).links) == ({7: 30}, {})
        registry.commit({7: 31}, [], {}, [], day=1, now=DAY, mask_version=1, links={7: 5})
        assert registry.summary(1).links == {7: 5}


def test_services_take_turns_in_waiting_for_vectors(registry: Registry) -> None:
    flood = [RegisteredPattern(number, "flood", "t", "e", LOG, number) for number in range(100)]
    commit(registry, [*flood, RegisteredPattern(200, "auth", "t", "e", LOG, 200), RegisteredPattern(201, "shop", "t", "e", LOG, 201)])
    ledger = CurrentLedger(registry.db)
    assert [each.pattern_id for each in ledger.pending(5)] == [0, 200, 201, 1, 2]
    ledger.mark({0: "", 200: ""}, b"")
    assert [each.pattern_id for each in ledger.pending(3)] == [1, 201, 2]


def test_patterns_that_were_not_seen_for_longest_give_way(registry: Registry) -> None:
    commit(registry, [pattern(number) for number in range(6)])
    commit(registry, last_seen={0: 9, 2: 9}, now=DAY * 20_000 + 5)
    CurrentLedger(registry.db).mark({1: "the model fails on it"}, b"")
    assert sorted(registry.evict(3, proven_places=0)) == [1, 3, 4]
    assert registry.summary(20_000).pattern_ids == {0, 2, 5}
    assert registry.summary(20_000).evicted == 3
    assert CurrentLedger(registry.db).set_aside() == {}


def test_patterns_that_come_back_on_another_day_keep_half_of_the_places_against_any_number_of_new_ones(registry: Registry) -> None:
    commit(registry, [pattern(number) for number in range(4)])
    commit(registry, last_seen=dict.fromkeys(range(4), 9), now=DAY * 20_001)
    flood = [pattern(number) for number in range(10, 14)]
    registry.commit({LOG: 20}, flood, {}, [], day=20_002, now=DAY * 20_002, mask_version=1)
    assert sorted(registry.evict(2, proven_places=6)) == [10, 11]
    assert sorted(registry.evict(2, proven_places=6)) == [12, 13]


def test_old_patterns_go_first_where_few_are_new(registry: Registry) -> None:
    commit(registry, [pattern(number) for number in range(4)])
    commit(registry, last_seen=dict.fromkeys(range(4), 9), now=DAY * 20_001)
    registry.commit({LOG: 20}, [pattern(10)], {}, [], day=20_002, now=DAY * 20_002, mask_version=1)
    assert sorted(registry.evict(2, proven_places=2)) == [0, 1]


def test_a_registry_of_an_earlier_version_knows_when_its_patterns_were_registered(tmp_path: Path) -> None:
    older = Registry(tmp_path / "r.sqlite")
    commit(older, [pattern(1), pattern(2)])
    older.db.execute("alter table patterns drop column last_seen")
    older.db.execute("drop index waiting")
    older.db.execute("create index pending on patterns (number) where state = 0")
    older.close()
    reopened = Registry(tmp_path / "r.sqlite")
    commit(reopened, [pattern(3)], last_seen={1: 12}, now=DAY * 20_000 + 7)
    assert [each.pattern_id for each in CurrentLedger(reopened.db).pending(9)] == [1, 2, 3]
    assert reopened.evict(1, proven_places=0) == [2]
    reopened.close()


def test_services_of_earlier_days_are_established(registry: Registry) -> None:
    commit(registry, [RegisteredPattern(1, "auth", "t", "e", LOG, 1)])
    assert registry.established(20_000) == frozenset()
    assert registry.established(20_001) == {"auth"}
