"""Telling everyone who waits that something has changed."""

import asyncio
from collections.abc import Callable


class Wakeup:
    """Wakes all who wait, each time it fires. Belongs to one event loop.

    Check the condition and call `wait` without an `await` between them, and no change is missed.
    """

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def fire(self) -> None:
        """Wakes all who wait now; costs next to nothing when nobody does."""
        if self._waiting:
            # Swapped first: whoever begins to wait because of this wake-up waits for the next one.
            waiting, self._waiting = self._waiting, set()
            for future in waiting:
                # A caller that was cancelled or timed out leaves a future that is done.
                if not future.done():
                    future.set_result(None)

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Waits for the next `fire`; False after `timeout_s` seconds without one."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            async with asyncio.timeout(timeout_s):
                await future
        except TimeoutError:
            return False
        finally:
            # In `finally`: a caller that gives up must not stay in the set until the next `fire`, which may never come.
            self._waiting.discard(future)
        return True


class Notice:
    """Calls all who listen when it is given. A stream that listens needs no task that waits."""

    def __init__(self) -> None:
        self._listeners: set[Callable[[], None]] = set()

    def listen(self, listener: Callable[[], None]) -> None:
        """Adds one."""
        self._listeners.add(listener)

    def forget(self, listener: Callable[[], None]) -> None:
        """Takes one away; one that does not listen changes nothing."""
        self._listeners.discard(listener)

    def give(self) -> None:
        """Calls all who listen now."""
        # A copy: a listener may forget itself while it is called.
        for listener in tuple(self._listeners):
            listener()
