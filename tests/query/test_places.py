"""Whole records by their places, against filtering everything."""

import itertools
import string

import numpy as np
import pytest

from tests.query.conftest import MakeFrame, MakeRecord, OpenStore
from treering_query.reading.places import records_at
from treering_query.reading.slices import Slice
from treering_query.view.snapshot import Snapshot

_LOGS = (7, 8)
_RECORDS = 160


@pytest.mark.parametrize("step", [1, 3, 50])
async def test_records_at_places_are_those_and_no_others_at_their_offsets(
    open_store: OpenStore, frame: MakeFrame, record: MakeRecord, step: int
) -> None:
    words = ["".join(letters) for letters in itertools.product(string.ascii_lowercase, repeat=2)][:_RECORDS]
    async with open_store() as store:
        for log_id in _LOGS:
            await store.open_log(log_id, 0)
            for offset, word in enumerate(words):
                await store.deliver(log_id, [frame(offset, [record(offset, message=f"{word} said log {log_id}")])], offset + 1)
                if offset % 60 == 59:
                    await store.seal()

        def check(snapshot: Snapshot) -> None:
            everything = snapshot.query("from logs")
            logs, offsets = (everything.column(name).to_numpy() for name in ("log_id", "offset"))
            places = everything.filter(np.where(logs == _LOGS[0], offsets % step == 0, offsets % (2 * step) == 0))
            found = records_at(snapshot, Slice(snapshot.view.segments, hot=True), places.select(["log_id", "offset", "pattern_id"]))
            by_place = [("log_id", "ascending"), ("offset", "ascending")]
            assert snapshot.view.segments
            assert snapshot.view.hot
            assert found.sort_by(by_place).equals(places.select(found.column_names).cast(found.schema).sort_by(by_place))

        with store.snapshot() as snapshot:
            await store.run(snapshot, check)
