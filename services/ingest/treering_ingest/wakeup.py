"""Waking everyone who waits for something to change."""

import asyncio


class Wakeup:
    """Wakes all who wait, each time it fires. Belongs to one event loop.

    Check the condition and call `wait` without an `await` between them, and no change is missed.
    """

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def fire(self) -> None:
        """Wakes all who wait now."""
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Waits for the next `fire`; False after `timeout_s` seconds without one."""
        event = self._event
        try:
            async with asyncio.timeout(timeout_s):
                await event.wait()
        except TimeoutError:
            return False
        return True
