"""Templates in a real store: joined after patterns came, the same after a restart, valid for as long as a pattern lives."""

import asyncio
import sys

import pytest

from treering.v1 import query_pb2 as pb
from treering.v1.log_pb2 import LogRecord
from treering_query.answers import aggregates
from treering_query.retention.upkeep import Policy

LOG = 7
NAMES = ("ann", "bob", "cyd", "dan", "eve", "fay", "gus", "hal", "ida", "jon", "kim", "lou", "mia", "ned", "ole", "pam")


def sessions(names, service="login"):
    return [
        LogRecord(service=service, message=f"session opened for user {name} today", time_unix_nano=1 + place)
        for place, name in enumerate(names)
    ]


async def deliver(store, frame, records):
    await store.open_log(LOG, 0)
    end = dict(store.view.seen).get(LOG, 0)
    await store.deliver(LOG, [frame(end, records)], end + len(records))
    await store.templates.settled()


def rows(store, sql):
    with store.snapshot() as snapshot:
        return snapshot.query(sql).to_pylist()


def templates_of(store):
    """(service, user) -> (template's id, its text)."""
    found = rows(store, "select service, text, template_id, template_text from _patterns")
    return {(row["service"], row["text"].split(" ")[4]): (row["template_id"], row["template_text"]) for row in found}


async def test_patterns_are_joined_across_services_once_they_have_come(open_store, frame):
    async with open_store() as store:
        await deliver(store, frame, sessions(NAMES[:2]))
        apart = templates_of(store)
        assert len(set(apart.values())) == 2
        await deliver(store, frame, sessions(NAMES[2:4], service="mail"))
        joined = set(templates_of(store).values())
        assert joined == {(apart["login", "ann"][0], "session opened for user <*> today")}


async def test_ids_and_aliases_are_the_same_after_a_restart(open_store, frame):
    async with open_store() as store:
        await deliver(store, frame, sessions(NAMES[:2]))
        await store.seal()
        await deliver(store, frame, sessions(NAMES[2:4]))
        before, known = templates_of(store), store.view.templates
    async with open_store() as store:
        assert store.view.templates == known
        await deliver(store, frame, sessions(NAMES[2:4]))
        assert templates_of(store) == before
        assert store.view.templates == known


async def test_a_pattern_that_comes_back_is_listed_under_its_template_at_once(open_store, frame):
    async with open_store() as store:
        await deliver(store, frame, sessions(NAMES[:4]))
        before = templates_of(store)
    async with open_store() as store:
        await store.open_log(LOG, 0)
        await store.deliver(LOG, [frame(0, sessions(NAMES[:4]))], 4)
        assert templates_of(store) == before


async def nobody(_ids, _below):
    """Nobody else keeps patterns."""


async def test_an_id_lives_as_long_as_a_pattern_of_its_template(open_store, frame):
    async with open_store() as store:
        await deliver(store, frame, sessions(NAMES[:3]))
        await store.seal()
        oldest = templates_of(store)["login", "ann"][0]
        await deliver(store, frame, sessions(NAMES[3:4], service="mail"))
        await store.seal()
        await store.keep_up(Policy(service_age_s={"login": 1}), 2**62, nobody)
        await store.templates.settled()
        assert templates_of(store) == {("mail", "dan"): (oldest, "session opened for user <*> today")}
        assert store.view.templates.template_ids[oldest] == oldest
        await store.keep_up(Policy(age_s=1), 2**62, nobody)
        await store.templates.settled()
        assert not store.view.templates.by_id
        assert not store.view.templates.template_ids
    async with open_store() as store:
        assert not store.view.templates.template_ids


async def test_a_pass_that_fails_to_be_saved_shows_nothing_and_is_repeated(open_store, frame, monkeypatch):
    monkeypatch.setattr("treering_query.store.template_keeper._RETRY_S", 0)
    failures = iter([OSError("disk full")])
    async with open_store() as store:
        save = store._files.sealer._catalog.save_templates

        def failing(change):
            for failure in failures:
                assert len(set(templates_of(store).values())) == 3
                raise failure
            save(change)

        monkeypatch.setattr(store._files.sealer._catalog, "save_templates", failing)
        await deliver(store, frame, sessions(NAMES[:3]))
        assert len(set(templates_of(store).values())) == 1


CHILD = """
import asyncio, os, sys
from pathlib import Path
from unittest import mock
from prometheus_client import CollectorRegistry
from treering.v1.batch_pb2 import LogBatch
from treering.v1.log_pb2 import LogRecord
from treering.v1.sink_pb2 import DeliveredFrame
from treering_query.store.deliveries import HotBounds
from treering_query.store.store import Store
from treering_query.view.engine import SnapshotEngine

def frame(first, names):
    records = [LogRecord(service="login", message=f"session opened for user {name} today", time_unix_nano=1) for name in names]
    payload = LogBatch(records=records).SerializeToString()
    return DeliveredFrame(first_offset=first, record_count=len(names), arrival_time_unix_nano=1, payload=payload)

async def main(directory, step):
    engine = SnapshotEngine(directory / "spill", memory_bytes=1 << 28, threads=1, running=1, waiting=1, timeout_s=30)
    store = Store(directory, engine, HotBounds(10**6, 1 << 26, 3600), CollectorRegistry())
    await store.open()
    await store.open_log(7, 0)
    await store.deliver(7, [frame(0, ["ann", "bob"])], 2)
    await store.templates.settled()
    await store.seal()
    await store.deliver(7, [frame(2, ["cyd", "dan"])], 4)
    with mock.patch(step, lambda *_, **__: os._exit(9)):
        await store.templates.settled()

asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""

STEPS = {
    "between pass and save": "treering_query.sealed.template_rows.TemplateRows.save",
    "inside the transaction": "treering_query.sealed.template_rows._rows",
    "saved and not yet shown": "treering_query.store.store.Store.publish_templates",
}


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.replace(" ", "_"))
async def test_a_crash_at_any_step_leaves_one_template_with_the_oldest_id(step, open_store, tmp_path, frame):
    directory = tmp_path / "store"
    directory.mkdir()
    ended = await asyncio.create_subprocess_exec(sys.executable, "-c", CHILD, str(directory), STEPS[step])
    assert await ended.wait() == 9
    async with open_store() as store:
        await store.templates.settled()
        oldest = templates_of(store)["login", "ann"][0]
        assert oldest == rows(store, "select pattern_id from _patterns where text like '%ann%'")[0]["pattern_id"]
        await deliver(store, frame, sessions(NAMES[2:4]))
        assert set(templates_of(store).values()) == {(oldest, "session opened for user <*> today")}


@pytest.mark.parametrize("bucket", [0, 60_000_000_000])
async def test_aggregates_by_template_are_those_of_its_patterns(open_store, frame, bucket):
    async with open_store() as store:
        await deliver(
            store, frame, [*sessions(NAMES[:4]), *sessions(NAMES[:6], service="mail"), LogRecord(message="shut down", time_unix_nano=5)]
        )
        by = [pb.FieldRef(field=pb.LOG_FIELD_TEMPLATE)]
        metrics = [
            pb.Metric(function=pb.AGGREGATE_FUNCTION_COUNT),
            pb.Metric(function=pb.AGGREGATE_FUNCTION_DISTINCT, of=pb.FieldRef(attribute="no")),
        ]
        for wanted in (metrics[:1], metrics):
            plan = aggregates.plan(pb.AggregateLogsRequest(group_by=by, metrics=wanted, bucket_nanos=bucket))
            with store.snapshot() as snapshot:
                found = (await store.run(snapshot, plan.answer)).rows
            assert [(row.groups[0].text, row.values[0].value) for row in found] == [
                ("session opened for user <*> today", 10),
                ("shut down", 1),
            ]
        kinds = pb.Metric(function=pb.AGGREGATE_FUNCTION_DISTINCT, of=by[0])
        plan = aggregates.plan(pb.AggregateLogsRequest(metrics=[kinds]))
        with store.snapshot() as snapshot:
            assert (await store.run(snapshot, plan.answer)).rows[0].values[0].value == 2
