"""Blocking work on a thread that is made for it and ends with it.

The event loop's default threads are shared by whoever asks for them: where all are taken, the next work waits, whoever it belongs to. So
no service uses them. What is asked for often has threads of its own kind, as many as may run at a time; what is rare comes here.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


async def on_own_thread(name: str, work: Callable[[], T]) -> T:
    """Returns what `work()` returns, from a thread that it alone has. For a step of a start, of a stop, of upkeep: what one asks at a time.

    A caller that is cancelled does not stop the work; the thread ends with it.

    Args:
        name: Of the thread.
        work: Blocks.
    """
    thread = ThreadPoolExecutor(1, thread_name_prefix=name)
    try:
        return await asyncio.get_running_loop().run_in_executor(thread, work)
    finally:
        thread.shutdown(wait=False)
