"""Where models come from: by name, prepared once and kept, or from what was kept alone."""

import asyncio
import shutil
from collections.abc import Collection
from typing import Protocol

from treering_embed.encoder.prepare import PreparedModel, prepare, prepared_identity, reload
from treering_embed.encoder.weights import locate
from treering_embed.notes import IndexNote
from treering_embed.settings import EmbedSettings


class Models(Protocol):
    """Gives models."""

    async def identify(self, model: str) -> str:
        """The identity that a model will have when prepared.

        Raises:
            StartError: There is no such model, or its weights are not what they should be.
        """

    async def prepare(self, model: str) -> PreparedModel:
        """A model by its name.

        Raises:
            StartError: There is no such model, or it cannot be loaded.
        """

    async def reload(self, note: IndexNote) -> PreparedModel | None:
        """The model that made an index, when its own files are gone or others now; None if too little of it was kept."""

    async def keep_only(self, identities: Collection[str]) -> None:
        """Removes what is kept of other models."""


class StoredModels:
    """Models as the settings say, kept in the data directory."""

    def __init__(self, settings: EmbedSettings) -> None:
        self._settings = settings
        self._cache = settings.data_dir / "encoder"
        self._fast = settings.encoder == "auto"

    async def identify(self, model: str) -> str:
        """Reads and hashes the model's files."""
        return prepared_identity(await asyncio.to_thread(locate, model))

    async def prepare(self, model: str) -> PreparedModel:
        """Makes the fast path if that was not done yet."""
        return await prepare(model, self._cache, self._settings.threads, fast=self._fast)

    async def reload(self, note: IndexNote) -> PreparedModel | None:
        """Only the fast path can do without the model's own files."""
        if not self._fast or not note.model_identity:
            return None
        return await asyncio.to_thread(reload, note.model, note.model_sha256, self._cache / note.model_identity, self._settings.threads)

    async def keep_only(self, identities: Collection[str]) -> None:
        """Removes directories."""
        await asyncio.to_thread(self._remove_others, identities)

    def _remove_others(self, identities: Collection[str]) -> None:
        for directory in self._cache.iterdir():
            if directory.name not in identities:
                shutil.rmtree(directory, ignore_errors=True)
