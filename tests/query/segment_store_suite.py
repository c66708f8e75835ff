"""What every implementation of `SegmentStore` must do, wherever it keeps the objects.

A subclass gives the fixture `place`: an object with `opened()`, the store as a new process would open it.
"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import xxhash

from treering_query.sealed.segment_store import ObjectExistsError, SegmentStore, Stored


def put(store: SegmentStore, name: str, content: bytes) -> Stored:
    return store.put_new(name, lambda path: path.write_bytes(content))


def refused(path: Path) -> None:
    path.write_bytes(b"half")
    raise OSError(28, "No space left on device")


class SegmentStoreSuite:
    def test_a_new_store_is_empty_and_has_a_place(self, place: Any) -> None:
        store = place.opened()
        assert store.place
        assert store.listed() == {}

    def test_an_object_is_there_whole_in_each_way_of_reading(self, place: Any) -> None:
        store, content = place.opened(), b"0123456789"
        assert put(store, "a", content) == (10, xxhash.xxh3_64_intdigest(content))
        assert store.open("a").read_bytes() == store.read_range("a", 0) == content
        assert (store.read_range("a", 3), store.read_range("a", 3, 5), store.read_range("a", 8, 99)) == (b"3456789", b"34", b"89")
        assert (store.read_range("a", 5, 5), store.read_range("a", 99)) == (b"", b"")
        assert store.listed() == {"a": 10}

    def test_a_file_that_was_opened_stays_while_others_come_and_go(self, place: Any) -> None:
        store = place.opened()
        put(store, "a", b"one")
        file = store.open("a")
        put(store, "b", b"two")
        store.delete("b")
        assert (file.read_bytes(), store.open("a")) == (b"one", file)

    def test_a_name_that_is_taken_is_refused_and_its_object_is_as_before(self, place: Any) -> None:
        store = place.opened()
        put(store, "a", b"first")
        with pytest.raises(ObjectExistsError):
            put(store, "a", b"second")
        assert (store.read_range("a", 0), store.listed()) == (b"first", {"a": 5})

    def test_an_object_that_cannot_be_written_is_not_there(self, place: Any) -> None:
        store = place.opened()
        with pytest.raises(OSError, match="No space left"):
            store.put_new("a", refused)
        with pytest.raises(FileNotFoundError):
            store.read_range("a", 0)
        store.delete("a")
        assert store.listed() == {}
        put(store, "a", b"now")
        assert store.listed() == {"a": 3}

    def test_what_an_unfinished_one_left_can_be_listed_and_deleted_by_the_next_process(self, place: Any) -> None:
        with pytest.raises(OSError, match="No space left"):
            place.opened().put_new("a", refused)
        store = place.opened()
        put(store, "b", b"whole")
        for name in set(store.listed()) - {"b"}:
            store.delete(name)
        assert store.listed() == {"b": 5}

    def test_what_is_deleted_is_gone_and_what_is_not_there_can_be_deleted(self, place: Any) -> None:
        store = place.opened()
        put(store, "a", b"one")
        for _ in range(2):
            store.delete("a")
        assert store.listed() == {}
        with pytest.raises(FileNotFoundError):
            store.read_range("a", 0)
        with pytest.raises(FileNotFoundError):
            store.open("a").read_bytes()

    def test_a_new_process_finds_the_same_objects(self, place: Any) -> None:
        put(place.opened(), "a", b"one")
        again = place.opened()
        assert (again.open("a").read_bytes(), again.listed()) == (b"one", {"a": 3})
        with pytest.raises(ObjectExistsError):
            put(again, "a", b"two")

    @pytest.mark.parametrize("seed", range(8))
    def test_any_order_of_steps_gives_what_a_dict_gives(self, place: Any, seed: Callable[[range], int]) -> None:
        chance, store, expected = random.Random(seed), place.opened(), {}
        for number in range(80):
            name = f"{chance.randrange(12)}"
            match chance.choice(["put", "put", "delete", "fail", "open again"]):
                case "put" if name not in expected:
                    expected[name] = chance.randbytes(chance.randrange(200))
                    assert put(store, name, expected[name]).size_bytes == len(expected[name])
                case "put":
                    with pytest.raises(ObjectExistsError):
                        put(store, name, b"another")
                case "delete":
                    store.delete(name)
                    expected.pop(name, None)
                case "fail":
                    with pytest.raises(OSError, match="No space left"):
                        store.put_new(f"new {number}", refused)
                    store.delete(f"new {number}")
                case _:
                    store = place.opened()
            assert store.listed() == {name: len(content) for name, content in expected.items()}
        assert {name: store.read_range(name, 0) for name in expected} == expected
