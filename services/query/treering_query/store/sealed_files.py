"""The sealed part of the store as the event loop uses it: one thread owns catalog and objects, one change runs at a time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from treering_query.sealed.catalog import Sealed
from treering_query.sealed.inventory import Inventory
from treering_query.sealed.opening import open_sealer
from treering_query.sealed.sealing import Sealer
from treering_query.store.published import Published
from treering_runtime.exclusive import Exclusive

T = TypeVar("T")


class SealedFiles:
    """Runs seals, rewrites and all other changes of what is sealed, and shows each one's result in the step in which it is known.

    A change that has begun runs to its end, whatever becomes of its caller: between the commit on the thread and the new view nothing can
    be cancelled, so memory and catalog never part.

    Args:
        directory: The data directory.
        published: The view that shows what is sealed.
        opened: Opens the sealer of a data directory; runs on the thread.
    """

    def __init__(self, directory: Path, published: Published, opened: Callable[[Path], Sealer] = open_sealer) -> None:
        self._directory = directory
        self._published = published
        self._opened = opened
        self._changes = Exclusive("change of the sealed store")
        # One thread: the connection of the catalog belongs to it.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="seal")

    async def open(self) -> Sealed:
        """Opens the catalog and reconciles it with the files.

        Raises:
            StartError: The catalog or a segment is damaged or missing.
        """
        # Made on the thread, which owns its connection from the first statement on.
        self.sealer = await self._on_thread(lambda: self._opened(self._directory))
        sealed = await self._on_thread(self.sealer.open)
        self._published.show_sealed(self.sealer.state)
        return sealed

    async def change(self, work: Callable[[Sealer], T]) -> T:
        """Runs `work(sealer)` on the thread when its turn has come, and shows what the catalog has then, also when the work failed."""
        return await self._changes.run(lambda: self.within(work))

    async def exclusively(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Runs a change of several steps, each through `within`, when its turn has come."""
        # Between two steps nothing else may change what is sealed; questions go on.
        return await self._changes.run(work)

    async def within(self, work: Callable[[Sealer], T]) -> T:
        """One step of a change."""
        try:
            # The caller is a task of `Exclusive`, which nobody cancels: the result on the thread is always shown.
            return await self._on_thread(lambda: work(self.sealer))
        finally:
            # Also after an error: the recovery before it may have found that an earlier commit took effect.
            self._published.show_sealed(self.sealer.state)

    @asynccontextmanager
    async def inventory(self) -> AsyncIterator[Inventory]:
        """What is sealed at this moment, to be checked; its files stay meanwhile."""
        held = ExitStack()
        is_wanted = True

        async def take() -> Inventory:
            found = await self.within(lambda sealer: sealer.inventory())
            # A caller that is cancelled does not stop this work, and then nobody would let the snapshot go.
            if is_wanted:
                # Before the next change can begin: the files that the inventory names are those that the snapshot holds.
                held.enter_context(self._published.snapshot())
            return replace(found, leaving=frozenset(name for segment in self._published.retired() for name in segment.names))

        try:
            # A check is long: it holds the files but not the turn, so seals and rewrites go on.
            yield await self._changes.run(take)
        finally:
            # Before the snapshot is let go: work that has not come to it yet will not take one.
            is_wanted = False
            held.close()

    async def finish(self) -> None:
        """Returns when no change runs any more, also none whose caller has gone."""
        await self._changes.finish()

    async def close(self) -> None:
        """Ends; a change that runs is finished."""
        # First: a change that runs uses the thread and the catalog.
        await self.finish()
        # On its own thread, like every use of the connection.
        await self._on_thread(self.sealer.close)
        self._thread.shutdown()

    async def _on_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
