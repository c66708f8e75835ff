"""Each step of a seal, a merge, a removal and a retry fails once, and twice in a row: every record stays, once."""

import asyncio
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb
import pytest

from treering_query.retention.upkeep import Policy
from treering_query.sealed import local_segments, seal_task, sealing, segment_file, segment_writing
from treering_query.sealed.duckdb_catalog import DuckDbCatalog
from treering_query.sealed.duckdb_file import DuckDbFile
from treering_query.sealed.local_segments import LocalSegments
from treering_runtime.quarantine import QuarantineSelection

ALL = QuarantineSelection()
LONG_AFTER = 2**62


class Faults:
    """Lets calls fail at one place: before they do anything, or after they have done it."""

    def __init__(self, times: int):
        self.left = times
        self.met = 0

    def fail(self, error: Exception):
        if self.left:
            self.left -= 1
            self.met += 1
            raise error


class FaultyConnection:
    """The catalog's connection, where a statement that begins with some words fails: before it runs, or after."""

    def __init__(self, real, faults: Faults, words: str, *, after: bool):
        self._real, self._faults, self._words, self._after = real, faults, words, after

    def execute(self, statement, *parameters):
        if not statement.lstrip().lower().startswith(self._words):
            return self._real.execute(statement, *parameters)
        error = duckdb.IOException(f"{self._words}: no space left on device")
        if not self._after:
            self._faults.fail(error)
        done = self._real.execute(statement, *parameters)
        if self._after:
            self._faults.fail(error)
        return done

    def __getattr__(self, name):
        return getattr(self._real, name)


@dataclass(frozen=True)
class Place:
    """Somewhere a step may fail."""

    name: str
    install: Callable


def statement(words: str, *, after: bool = False) -> Place:
    def install(patch, store, faults):
        real_connect = DuckDbFile._connect
        file = store._files.sealer._catalog._file

        def connect(self):
            return FaultyConnection(real_connect(self), faults, words, after=after)

        patch.setattr(DuckDbFile, "_connect", connect)
        file.connection = FaultyConnection(file.connection, faults, words, after=after)

    return Place(f"{'after' if after else 'before'} {words}", install)


def function(owner, name: str, *, after: bool = False) -> Place:
    def install(patch, store, faults):
        real = getattr(owner, name)

        def failing(*arguments, **keywords):
            error = OSError(28, "No space left on device")
            if not after:
                faults.fail(error)
            result = real(*arguments, **keywords)
            if after:
                faults.fail(error)
            return result

        patch.setattr(owner, name, failing)

    return Place(f"{'after' if after else 'before'} {name}", install)


def one_after_the_other(*places: Place) -> Place:
    """Of one number of faults: what fails first leaves the others to the places that are met after it."""

    def install(patch, store, faults):
        for place in places:
            place.install(patch, store, faults)

    return Place(", ".join(place.name for place in places), install)


PLACES = [
    function(segment_file, "write"),
    function(segment_file, "write", after=True),
    function(segment_writing, "write_statistics"),
    function(segment_writing, "write_statistics", after=True),
    function(local_segments, "_sync_file"),
    function(local_segments, "checksum_of"),
    function(local_segments, "sync_directory"),
    function(local_segments, "sync_directory", after=True),
    function(LocalSegments, "put_new"),
    function(LocalSegments, "put_new", after=True),
    function(LocalSegments, "delete"),
    function(LocalSegments, "delete", after=True),
    statement("begin"),
    statement("insert into segments"),
    statement("insert into segment_ranges"),
    statement("insert into patterns"),
    statement("insert into progress"),
    statement("delete from segments"),
    statement("delete from expired"),
    statement("insert into quarantine"),
    statement("delete from quarantine"),
    statement("update sealing"),
    statement("commit"),
    statement("commit", after=True),
    one_after_the_other(statement("commit", after=True), function(DuckDbCatalog, "load")),
    one_after_the_other(statement("commit", after=True), function(DuckDbCatalog, "_expired")),
    one_after_the_other(statement("commit", after=True), function(LocalSegments, "read_range")),
    statement("checkpoint"),
    statement("checkpoint", after=True),
    function(sealing.Sealer, "_write_manifest"),
    function(sealing.Sealer, "_committed", after=True),
    function(sealing.Sealer, "remove"),
    function(sealing.Sealer, "remove", after=True),
    function(sealing.Sealer, "forget"),
    function(sealing.Sealer, "forget", after=True),
    function(sealing.Sealer, "quarantined"),
]


def seen(store):
    with store.snapshot() as snapshot:
        offsets = snapshot.query('select "offset" from logs order by 1').column(0).to_pylist()
        counted = snapshot.query("select coalesce(sum(count), 0)::bigint from pattern_counts").column(0)[0].as_py()
    assert counted == len(offsets)
    return offsets, store.board.get(7).quarantined


@contextmanager
def failing(monkeypatch, store, place, times):
    faults = Faults(times)
    with monkeypatch.context() as patch:
        place.install(patch, store, faults)
        yield faults


async def until_done(work, refusals=8):
    """Calls again what raises, as people and timers do."""
    for _ in range(refusals):
        try:
            return await work()
        except (OSError, duckdb.Error):
            continue
    raise AssertionError(f"it failed {refusals} times")


async def nobody(pattern_ids, below):
    """Stands for the embed service."""


async def deliver(store, frame, record, start):
    """A hundred records; the first cannot be read as it is not UTF-8."""
    bad = frame(start, [record(start)])
    bad.payload = bad.payload.replace(b"user", b"us\xffr")
    await store.deliver(7, [bad, frame(start + 1, [record(number, service=f"svc{start}") for number in range(start + 1, start + 100)])], 0)


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(seal_task, "RETRY_SEAL_S", (0.0, 0.0))


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name.replace(" ", "_"))
async def test_a_step_that_fails_loses_and_doubles_nothing(open_store, frame, record, monkeypatch, place, times, tmp_path):
    readable = [offset for offset in range(500) if offset % 100]
    async with open_store() as store:
        await store.open_log(7, 0)
        with failing(monkeypatch, store, place, times) as faults:
            for start in range(0, 500, 100):
                await deliver(store, frame, record, start)
                await asyncio.wait_for(store.seal(), 60)
                assert seen(store) == ([offset for offset in readable if offset < start + 100], start // 100 + 1)
                assert store.board.get(7).releasable_end == start + 100
            for _ in range(3):  # merges, then removes what was merged; drops one service, and forgets its pattern
                await until_done(lambda: store.keep_up(Policy(), LONG_AFTER, nobody))
            await until_done(lambda: store.quarantined(ALL, None))
            items = await until_done(lambda: store.quarantined(ALL, None))
            assert [item.first_offset for item in items] == list(range(0, 500, 100))
            await until_done(lambda: store.read_again(items))
            assert seen(store) == (readable, 5)
            for _ in range(3):
                await until_done(lambda: store.keep_up(Policy(service_age_s={"svc0": 1}), LONG_AFTER, nobody))
            left = [offset for offset in readable if offset > 100]
            assert seen(store) == (left, 5)
        assert faults.met == min(times, 1 if "forget" in place.name else times), "the place was never met"
        await until_done(lambda: store.keep_up(Policy(), LONG_AFTER, nobody))
        names = {file.name for file in (tmp_path / "store" / "segments").iterdir()}
        assert names == {name for segment in store.view.segments for name in segment.names}
    async with open_store() as store:
        assert seen(store) == (left, 5)
        assert store.board.get(7).next_offset == 500
        with store.snapshot() as snapshot:
            texts = snapshot.query("select service, text from patterns").to_pylist()
        assert len(texts) == 4


async def test_an_id_of_a_segment_is_never_used_again(open_store, fill):
    """The newest segment is dropped, another is sealed at once, and only then the files of what was dropped are removed."""
    ids = set()
    for _ in range(2):
        async with open_store() as store:
            for _ in range(3):
                start = store.board.get(7).next_offset
                await fill(store, start, start + 100)
                await store.seal()
                assert await store.keep_up(Policy(age_s=1), LONG_AFTER, nobody) == 1
                await fill(store, start + 100, start + 200)
                await store.seal()
                await store.keep_up(Policy(), LONG_AFTER, nobody)
                assert seen(store)[0] == list(range(start + 100, start + 200))
                (segment,) = store.view.segments
                assert segment.path.exists()
                ids.add(segment.segment_id)
                assert await store.keep_up(Policy(age_s=1), LONG_AFTER, nobody) == 1
    assert len(ids) == 6


async def test_a_file_that_a_question_reads_stays_whatever_is_dropped_and_sealed_meanwhile(open_store, fill):
    async with open_store() as store:
        await fill(store, 0, 100)
        await store.seal()
        with store.snapshot() as before:
            await store.keep_up(Policy(age_s=1), LONG_AFTER, nobody)
            await fill(store, 100, 200)
            await store.seal()
            for _ in range(2):
                await store.keep_up(Policy(), LONG_AFTER, nobody)
            assert before.query('select "offset" from logs order by 1').column(0).to_pylist() == list(range(100))
            assert seen(store)[0] == list(range(100, 200))
        await store.keep_up(Policy(), LONG_AFTER, nobody)
        assert not before.view.segments[0].path.exists()


async def test_a_batch_that_cannot_be_sealed_stays_visible_while_others_change(open_store, fill, monkeypatch):
    async with open_store() as store:
        for start in range(0, 400, 100):
            await fill(store, start, start + 100)
            await store.seal()
        await fill(store, 400, 500)
        tried, loop = asyncio.Event(), asyncio.get_running_loop()

        def refused(sealer, batch, sealed_time):
            loop.call_soon_threadsafe(tried.set)
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(sealing.Sealer, "seal", refused)
            waiting = asyncio.create_task(store.seal())
            await tried.wait()
            assert await store.keep_up(Policy(), LONG_AFTER, nobody) == 1
            assert seen(store)[0] == list(range(500))
        await waiting
        assert seen(store)[0] == list(range(500))
