"""What every implementation of `Catalog` must do, whatever it keeps the rows in.

A subclass gives the fixture `place`: an object with `opened()`, the catalog as a new process would open it.
"""

import random
from pathlib import Path

import pyarrow as pa
import pytest

from treering_query.retention.retention_clock import KeptTime
from treering_query.sealed.catalog import Catalog, NotQuarantinedError
from treering_query.templates import NO_TEMPLATES, Template, Templates, TemplatesChange
from treering_query.values.schemas import PATTERNS_SCHEMA
from treering_query.values.segment import Expired, LogRange, Segment
from treering_runtime.limits import QUARANTINE_PAGE_BYTES
from treering_runtime.quarantine import Change, Quarantined, QuarantineSelection

NOTHING = Change()
EVERYTHING = QuarantineSelection()
NOBODY = PATTERNS_SCHEMA.empty_table()
HUGE = 2**64 - 1


def segment(number: int, first: int = 0, end: int = 10, **changes) -> Segment:
    facts = {
        "path": Path(f"/data/segments/{number:010d}-abcd.parquet"),
        "row_count": end - first,
        "size_bytes": 1_000 + number,
        "first_time": -5,
        "last_time": 1_700_000_000_123_456_789,
        "first_arrival_time": 7,
        "last_arrival_time": 1_800_000_000_000_000_001,
        "ranges": (LogRange(3, first, end), LogRange(HUGE, first, end)),
        "services": frozenset({"", "shop", "größe"}),
        "checksum": HUGE - number,
        "mask_version": 3,
        "data_bytes": 99,
        "has_resources": True,
        "sealed_time": 1_000,
        "statistics_checksum": HUGE - 1_000 - number,
    }
    return Segment(segment_id=number, **(facts | changes))


def patterns(*texts: str) -> pa.Table:
    rows = [
        {"pattern_id": HUGE - len(text), "service": "shop", "text": text, "example": text, "first_log_id": 3, "first_offset": 0}
        for text in texts
    ]
    return pa.Table.from_pylist(rows, PATTERNS_SCHEMA)


def bad(log_id: int, offset: int, count: int = 1, payload: bytes = b"\xff") -> Quarantined:
    return Quarantined(log_id, offset, count, 5, "not UTF-8", payload)


def sealed(catalog: Catalog, number: int, quarantine: Change = NOTHING, texts: tuple[str, ...] = (), **changes) -> Segment:
    new = segment(number, **changes)
    end = new.ranges[0].end_offset
    catalog.commit(f"batch {number}", {3: end, HUGE: end}, {3: HUGE}, quarantine, new, patterns=patterns(*texts))
    return new


def loaded(catalog: Catalog):
    return catalog.load(Path("/data/segments").joinpath)


def keys(catalog: Catalog, selection: QuarantineSelection = EVERYTHING) -> list[tuple[int, int]]:
    found, after = [], None
    while page := catalog.quarantined(selection, after):
        found += [each.key for each in page]
        after = page[-1].key
    return found


class CatalogSuite:
    @pytest.fixture(autouse=True)
    def closing(self, place):
        """Closes whatever a test opened."""
        self.catalogs = []
        yield
        for each in self.catalogs:
            each.close()

    def opened(self, place) -> Catalog:
        """As a new process opens it: whoever had it before has gone."""
        while self.catalogs:
            self.catalogs.pop().close()
        self.catalogs.append(place.opened())
        return self.catalogs[-1]

    def test_a_new_catalog_holds_nothing(self, place):
        catalog = self.opened(place)
        found = loaded(catalog)
        assert (found.segments, found.patterns.num_rows, found.ends, found.links, found.expired) == ((), 0, {}, {}, ())
        assert (dict(found.quarantined), found.last_batch, found.next_segment_id, found.described) == ({}, "", 1, frozenset())
        assert (catalog.load_clock(), catalog.load_templates(), keys(catalog)) == (None, NO_TEMPLATES, [])

    def test_a_seal_is_there_whole_for_this_process_and_the_next(self, place):
        catalog = self.opened(place)
        new = sealed(catalog, 1, Change((bad(3, 4),)), ("one", "three"))
        for _ in range(2):
            found = loaded(catalog)
            assert found.segments == (new,)
            assert found.segments[0].statistics_checksum == new.statistics_checksum
            assert (found.ends, found.links, found.last_batch) == ({3: 10, HUGE: 10}, {3: HUGE}, "batch 1")
            assert (dict(found.quarantined), keys(catalog), found.described) == ({3: 1}, [(3, 4)], frozenset({1}))
            assert found.patterns.equals(patterns("one", "three"))
            assert found.patterns.schema.equals(PATTERNS_SCHEMA)
            catalog = self.opened(place)

    def test_segments_come_in_the_order_of_their_ids_and_their_files_from_where_they_are_now(self, place):
        catalog = self.opened(place)
        for number in (2, 1, 3):
            sealed(catalog, number)
        found = catalog.load(Path("/elsewhere").joinpath)
        assert [each.segment_id for each in found.segments] == [1, 2, 3]
        assert found.segments[0].path == Path("/elsewhere/0000000001-abcd.parquet")

    def test_a_segment_without_what_earlier_versions_did_not_keep(self, place):
        catalog = self.opened(place)
        new = sealed(catalog, 1, checksum=None, data_bytes=None, mask_version=0, has_resources=False, ranges=(LogRange(3, 0, 10),))
        assert loaded(catalog).segments == (new,)

    def test_a_batch_without_a_readable_record_moves_progress_and_quarantine_alone(self, place):
        catalog = self.opened(place)
        sealed(catalog, 1)
        catalog.commit("nothing readable", {3: 20}, {}, Change((bad(3, 10, 10),)), None, patterns=NOBODY)
        found = loaded(catalog)
        assert (len(found.segments), found.ends, found.links, found.last_batch) == (1, {3: 20, HUGE: 10}, {}, "nothing readable")
        assert (dict(found.quarantined), found.next_segment_id) == ({3: 10}, 2)

    def test_without_an_id_the_batch_before_stays_the_last_one(self, place):
        catalog = self.opened(place)
        sealed(catalog, 1)
        catalog.commit("", {}, {}, NOTHING, segment(2), patterns=NOBODY)
        assert loaded(catalog).last_batch == "batch 1"

    def test_a_pattern_that_is_known_stays_as_it_is(self, place):
        catalog = self.opened(place)
        sealed(catalog, 1, texts=("one",))
        sealed(catalog, 2, texts=("two", "three"))  # the first of them has the id of "one"
        assert loaded(catalog).patterns.column("text").to_pylist() == ["one", "three"]
        catalog.forget([HUGE - 3])
        assert loaded(catalog).patterns.column("text").to_pylist() == ["three"]
        sealed(catalog, 3, texts=("two",))
        assert loaded(catalog).patterns.column("text").to_pylist() == ["three", "two"]

    def test_ids_are_never_given_out_again(self, place):
        catalog = self.opened(place)
        for number in range(1, 4):
            sealed(catalog, number)
        catalog.replace([3], None, [])
        assert loaded(catalog).next_segment_id == 4
        catalog.replace([1, 2], segment(7), [])
        catalog.replace([7], None, [])
        assert (loaded(catalog).segments, loaded(self.opened(place)).next_segment_id) == ((), 8)

    def test_segments_are_replaced_whole_and_what_expired_is_all_that_is_gone(self, place):
        catalog = self.opened(place)
        for number in range(1, 4):
            sealed(catalog, number, first=10 * number, end=10 * number + 10)
        gone = [Expired(HUGE, 0, 5, 2), Expired(3, 0, 9, 4)]
        catalog.replace([1, 2], (merged := segment(4, 10, 30)), gone)
        found = loaded(self.opened(place))
        assert [each.segment_id for each in found.segments] == [3, 4]
        assert found.segments[1] == merged
        assert (set(found.expired), found.described) == (set(gone), frozenset({3, 4}))
        catalog = self.catalogs[-1]
        catalog.replace([3], None, [])
        assert (loaded(catalog).expired, found.ends) == ((), {3: 40, HUGE: 40})

    def test_quarantined_records_are_listed_by_log_and_offset_as_they_came(self, place):
        catalog = self.opened(place)
        items = [bad(HUGE, 1, 2, b""), bad(3, 50, 10, b"x" * 5), bad(3, 4)]
        sealed(catalog, 1, Change(tuple(items)))
        assert catalog.quarantined(EVERYTHING, None) == [items[2], items[1], items[0]]
        assert keys(catalog, QuarantineSelection(3)) == [(3, 4), (3, 50)]
        assert keys(catalog, QuarantineSelection(3, 59, 0)) == keys(catalog, QuarantineSelection(0, 5, 51)) == [(3, 50)]
        assert keys(catalog, QuarantineSelection(3, 60, 0)) == keys(catalog, QuarantineSelection(3, 5, 50)) == []
        assert catalog.quarantined(EVERYTHING, (3, 50)) == [items[0]]
        assert dict(loaded(catalog).quarantined) == {3: 11, HUGE: 2}

    def test_a_page_ends_when_it_is_large_and_has_one_at_least(self, place):
        catalog = self.opened(place)
        items = tuple(bad(3, number, 1, b"x" * (QUARANTINE_PAGE_BYTES // 2)) for number in range(5))
        sealed(catalog, 1, Change((*items, bad(3, 9, 1, b"x" * (2 * QUARANTINE_PAGE_BYTES)))))
        assert len(catalog.quarantined(EVERYTHING, None)) < 5
        assert len(catalog.quarantined(EVERYTHING, (3, 4))) == 1
        assert len(keys(catalog)) == 6

    def test_what_was_read_again_leaves_with_the_seal_and_what_is_still_bad_stays(self, place):
        catalog = self.opened(place)
        one, two = bad(3, 1), bad(3, 2)
        sealed(catalog, 1, Change((one, two)))
        sealed(catalog, 2, Change((two,), (one, two)))
        found = loaded(self.opened(place))
        assert (dict(found.quarantined), keys(self.catalogs[-1])) == ({3: 1}, [(3, 2)])

    def test_of_two_that_read_the_same_again_the_second_changes_nothing(self, place):
        catalog = self.opened(place)
        one, two = bad(3, 1), bad(3, 2)
        sealed(catalog, 1, Change((one, two)))
        sealed(catalog, 2, Change((), (one,)))
        before = loaded(catalog)
        with pytest.raises(NotQuarantinedError):
            sealed(catalog, 3, Change((), (two, one)), ("new",))
        catalog.suspect()
        assert catalog.recover()
        found = loaded(catalog)
        assert (found.segments, found.last_batch, found.patterns) == (before.segments, "batch 2", before.patterns)
        assert keys(catalog) == [(3, 2)]

    def test_a_change_that_fails_is_not_made_in_part(self, place):
        catalog = self.opened(place)
        sealed(catalog, 1)
        for change in (
            lambda: catalog.commit("b", {3: 99}, {}, Change((bad(3, 8),)), segment(2), patterns=pa.table({"nothing": ["of this"]})),
            lambda: catalog.commit("b", {3: 99}, {}, Change((), (bad(3, 8),)), segment(2), patterns=NOBODY),
        ):
            with pytest.raises(Exception):  # noqa: B017, PT011 - whatever the engine has for it
                change()
            catalog.suspect()
            assert catalog.recover()
            found = loaded(catalog)
            assert ([each.segment_id for each in found.segments], found.ends[3], found.last_batch) == ([1], 10, "batch 1")
            assert (keys(catalog), found.next_segment_id) == ([], 2)
        sealed(catalog, 2)
        assert len(loaded(self.opened(place)).segments) == 2

    def test_it_is_opened_again_once_after_an_error(self, place):
        catalog = self.opened(place)
        sealed(catalog, 1)
        assert not catalog.recover()
        catalog.suspect()
        assert catalog.recover()
        assert not catalog.recover()
        assert len(loaded(catalog).segments) == 1

    def test_the_clock_is_kept_and_ages_move_with_it_but_not_beyond(self, place):
        catalog = self.opened(place)
        catalog.keep_clock(KeptTime(2**62, -5))
        sealed(catalog, 1, sealed_time=100)
        sealed(catalog, 2, sealed_time=900)
        catalog.set_clock(kept := KeptTime(1_000, 0, "an order"), 300)
        catalog = self.opened(place)
        assert catalog.load_clock() == kept
        assert [each.sealed_time for each in loaded(catalog).segments] == [400, 1_000]

    def test_an_order_is_carried_out_once(self, place):
        catalog = self.opened(place)
        sealed(catalog, 1, sealed_time=100)
        for _ in range(2):
            catalog.set_clock(KeptTime(1_000, 0, "an order"), 300)
        assert loaded(catalog).segments[0].sealed_time == 400
        catalog.set_clock(KeptTime(1_000, 0, "another one"), 300)
        assert loaded(catalog).segments[0].sealed_time == 700

    def test_templates_come_back_as_they_were_saved_oldest_first(self, place):
        catalog = self.opened(place)
        old = [Template(number, f"text {number}", frozenset({1, 9})) for number in (HUGE, 5, 7)]
        catalog.save_templates(TemplatesChange(old, [], (), {HUGE: HUGE, 5: 5, 7: 7, 8: 7}, (), shows=False))
        grown = Template(5, "text <*>", frozenset())
        catalog.save_templates(TemplatesChange([Template(1, "new", frozenset())], [grown], {7}, {7: 5, 1: 1}, {8}, shows=True))
        found = self.opened(place).load_templates()
        assert found == Templates({HUGE: old[0], 5: grown, 1: Template(1, "new", frozenset())}, {HUGE: HUGE, 5: 5, 7: 5, 1: 1})
        assert list(found.by_id) == [HUGE, 5, 1]

    @pytest.mark.parametrize("seed", range(4))
    def test_any_order_of_changes_gives_what_plain_values_give(self, place, seed):
        chance, catalog = random.Random(seed), self.opened(place)
        live, aside, end, next_id = {}, {}, 0, 1
        for _ in range(40):
            match chance.choice(["seal", "seal", "merge", "drop", "read again", "open again"]):
                case "seal":
                    items = tuple(bad(3, end + number) for number in range(chance.randrange(3)))
                    live[next_id] = sealed(catalog, next_id, Change(items), first=end, end=end + 10)
                    aside |= {each.key: each for each in items}
                    end, next_id = end + 10, next_id + 1
                case "merge" if len(live) > 1:
                    old = chance.sample(sorted(live), 2)
                    catalog.replace(old, (new := segment(next_id, 0, 20)), [])
                    live = {number: each for number, each in live.items() if number not in old} | {next_id: new}
                    next_id += 1
                case "drop" if live:
                    catalog.replace([number := chance.choice(sorted(live))], None, [])
                    del live[number]
                case "read again" if aside:
                    items = [aside.pop(key) for key in chance.sample(sorted(aside), 1)]
                    live[next_id] = sealed(catalog, next_id, Change((), items), first=0, end=end)
                    next_id += 1
                case "open again":
                    catalog = self.opened(place)
            found = loaded(catalog)
            assert found.segments == tuple(each for _, each in sorted(live.items()))
            assert (found.next_segment_id, found.described, keys(catalog)) == (next_id, frozenset(live), sorted(aside))
