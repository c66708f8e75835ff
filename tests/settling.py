"""Waits until a task that was begun has gone as far as it can, however many steps of the event loop that takes."""

import asyncio


async def settled() -> None:
    """Returns when nothing is ready to run: every other task waits for a timer, for a thread, for the network, or for the test."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0)  # what was begun a moment ago is ready from now on
    while loop._ready:  # noqa: ASYNC110 - there is no event for it
        await asyncio.sleep(0)
