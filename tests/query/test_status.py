"""GetQueryStatus: what grows with the store is counted beside the event loop."""

import threading
from dataclasses import replace
from typing import ClassVar


class Watched(tuple):
    """Segments that note which threads go through them."""

    __slots__ = ()
    threads: ClassVar[set[str]] = set()

    def __iter__(self):
        self.threads.add(threading.current_thread().name.partition("_")[0])
        return super().__iter__()


async def test_segments_are_counted_on_a_thread_of_its_own(serving, fill):
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
