"""A task that fails is kept in mind and told; it does not end unseen."""

import asyncio

from treering_runtime.background import Background


async def test_a_failure_is_kept_and_told() -> None:
    background = Background()
    going_on = asyncio.Event()

    async def fails() -> None:
        raise RuntimeError("not foreseen")

    async def ends() -> None:
        """Its work is done."""

    async def goes_on() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            going_on.set()

    background.start("short", ends())
    background.start("long", goes_on())
    background.start("bad", fails())
    await background.wait_failed()
    assert background.failure == "bad failed: RuntimeError: not foreseen"
    await background.stop()
    assert going_on.is_set()
