"""GetQueryStatus: what grows with the store is counted beside the event loop."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

from tests.query.conftest import Fill, Serving


class Watched(tuple[Any, ...]):
    """Segments that note which threads go through them."""

    __slots__ = ()
    threads: ClassVar[set[str]] = set()

    def __iter__(self) -> Iterator[Any]:
        self.threads.add(threading.current_thread().name.partition("_")[0])
        return super().__iter__()


async def test_segments_are_counted_on_a_thread_of_its_own(serving: Serving, fill: Fill) -> None:
    async with serving() as (store, client):
        for start in range(0, 300, 100):
            await fill(store, start, start + 100)
            await store.seal()
        segments = store.view.segments
        store._published.view = replace(store.view, segments=Watched(segments))
        Watched.threads.clear()
        status = await client.get_query_status()
        assert (status.record_count, status.segment_count, status.hot_record_count) == (300, 3, 0)
        assert status.segment_bytes == sum(segment.size_bytes for segment in segments)
        assert Watched.threads == {"status"}
