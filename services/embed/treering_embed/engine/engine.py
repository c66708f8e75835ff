"""What computes and holds vectors, once the model is loaded and the index is open."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from treering_embed.encoder import Matrix
from treering_embed.encoder.late import PieceFrequencies
from treering_embed.encoder.prepare import PreparedModel
from treering_embed.encoder.queue import EncodeQueue
from treering_embed.index import Index
from treering_embed.registry.kept import Background


class Users:
    """How many calls use something at the moment. Belongs to one event loop."""

    def __init__(self) -> None:
        self._count = 0
        self._gone = asyncio.Event()
        self._gone.set()

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """Counts one for as long as it lasts."""
        self._count += 1
        self._gone.clear()
        try:
            yield
        finally:
            self._count -= 1
            if not self._count:
                self._gone.set()

    async def gone(self) -> None:
        """Returns when nobody uses it."""
        await self._gone.wait()


@dataclass(frozen=True)
class Engine:
    """The model, the index, and what late interaction needs of both. Who fills the index adds to `frequencies`, searches read it.

    Whoever changes the index holds `writing`, so that no pattern is deleted between its upsert and its mark in the registry.
    """

    model: PreparedModel
    encoder: EncodeQueue
    index: Index
    index_threads: Background
    frequencies: PieceFrequencies
    users: Users = field(default_factory=Users)
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    unmarked: dict[int, str] = field(default_factory=dict)
    """Patterns whose outcome the registry does not know yet, as `Outcomes`: who fills the index adds them, who forgets patterns takes
    them out."""

    @property
    def basis(self) -> Matrix:
        """Of the token vectors."""
        return self.model.basis

    def close(self, *, keep_encoder: bool = False) -> None:
        """Ends the model's thread (unless another engine has it too), then the index's, then closes the index."""
        # The encoder first: callers that wait for it are refused, and then none of them asks the index any more.
        if not keep_encoder:
            self.encoder.close()
        self.index_threads.close()
        # After its threads: a call that runs in them would meet a closed shard.
        self.index.close()
