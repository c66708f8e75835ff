"""What the service keeps, as one thing that sink, indexer and handlers share."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from treering_embed.registry.book import PatternBook
from treering_embed.registry.ledgers import CurrentLedger, SuccessorLedger
from treering_embed.registry.metrics import EmbedMetrics
from treering_embed.registry.registry import Registry
from treering_runtime.owned_tasks import OwnedTasks

_T = TypeVar("_T")


class Background:
    """Threads that blocking calls run on, so that the event loop never waits for a disk or an engine."""

    def __init__(self, name: str, threads: int = 1) -> None:
        # Threads of its own, never the loop's default executor: a slow disk must not take the threads that others wait for.
        self._executor = ThreadPoolExecutor(threads, name)

    async def run(self, function: Callable[..., _T], *arguments: object) -> _T:
        """Calls a function on one of the threads."""
        # A call that runs cannot be stopped: a cancelled caller leaves it running, and its result is dropped.
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, *arguments)

    def close(self) -> None:
        """Ends the threads after their current calls."""
        # Calls that are queued are still made: `shutdown` waits for them.
        self._executor.shutdown()


@dataclass(frozen=True)
class Kept:
    """The registry, its ledgers and the one thread that may touch them, its summary in memory, and the figures about both."""

    registry: Registry
    current: CurrentLedger
    successor: SuccessorLedger
    registry_thread: Background
    book: PatternBook
    metrics: EmbedMetrics
    tasks: OwnedTasks = field(default_factory=lambda: OwnedTasks("change of the patterns"))
    waiting_for: dict[str, str] = field(default_factory=dict)
    """Work that is tried again until it can be done, and why it cannot be now, for people; an entry goes when it was done."""
