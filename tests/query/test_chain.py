"""The link of the log's chain, kept with the progress of the store."""

from pathlib import Path

import duckdb

from tests.links import link_at, links_of
from tests.query.conftest import MakeFrame, OpenStore
from treering.v1.log_pb2 import LogRecord
from treering.v1.sink_pb2 import DeliveredFrame, DeliverLogsRequest
from treering_query.store.store import Store

LOG_ID = 0xFEDCBA9876543210


async def _take(store: Store, *frames: DeliveredFrame) -> None:
    """As the servicer does it."""
    request = DeliverLogsRequest(frames=frames, links=links_of(frames))
    store.board.chain.join(LOG_ID, store.board.get(LOG_ID).next_offset, request)
    await store.deliver(LOG_ID, frames, 0)


async def test_the_link_is_sealed_with_the_progress_and_is_there_after_a_restart(open_store: OpenStore, frame: MakeFrame) -> None:
    async with open_store() as store:
        await store.open_log(LOG_ID, 0)
        await _take(store, frame(0, [LogRecord(service="a", message="one"), LogRecord(service="a", message="two")]))
        await store.seal()
        await _take(store, frame(2, [LogRecord(service="a", message="not sealed")]))
    async with open_store() as store:
        assert store.board.get(LOG_ID).next_offset == 2
        assert store.board.chain.at(LOG_ID, 2) == link_at(2)


async def test_a_catalog_of_an_earlier_version_opens_without_links(open_store: OpenStore, frame: MakeFrame, tmp_path: Path) -> None:
    async with open_store() as store:
        await store.open_log(LOG_ID, 0)
        await _take(store, frame(0, [LogRecord(service="a", message="one")]))
        await store.seal()
    (file,) = tmp_path.rglob("logs.duckdb")  # noqa: ASYNC240 - a directory of the test
    with duckdb.connect(str(file)) as old:
        old.execute("alter table progress drop column link")
    async with open_store() as store:
        assert (store.board.get(LOG_ID).next_offset, store.board.chain.at(LOG_ID, 1)) == (1, None)
        await _take(store, frame(1, [LogRecord(service="a", message="two")]))
        await store.seal()
    async with open_store() as store:
        assert store.board.chain.at(LOG_ID, 2) == link_at(2)
