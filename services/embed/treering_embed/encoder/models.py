"""Where models come from."""

import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from treering_embed.encoder.prepare import KEPT_FILES, PreparedModel, check_installed, prepare, prepared_identity
from treering_embed.encoder.weights import locate
from treering_embed.settings import EmbedSettings
from treering_runtime.own_thread import on_own_thread


class Models(Protocol):
    """Gives models."""

    async def identify(self, model: str) -> str:
        """The identity that a model will have when prepared.

        Raises:
            StartError: There is no such model, its weights are not what they should be, or what runs it is not installed.
        """

    async def prepare(self, model: str) -> PreparedModel:
        """A model by its name.

        Raises:
            StartError: As `identify`, and where it cannot be loaded.
        """

    async def keep_only(self, identities: Collection[str]) -> None:
        """Removes what is kept of other models."""


class StoredModels:
    """Models as the settings say; what is kept of them is in the data directory.

    Raises:
        StartError: The settings name what is not installed.
    """

    def __init__(self, settings: EmbedSettings) -> None:
        self._threads = settings.threads
        self._cache = settings.data_dir / "encoder"
        self._reference = settings.encoder == "reference"
        # At the start, before anything is loaded: the remedy is an installation, and that needs a restart.
        check_installed(settings.model, reference=self._reference)

    async def identify(self, model: str) -> str:
        """Reads and hashes the model's files."""
        check_installed(model, reference=self._reference)
        # A name on the hub may download here, and hashing reads the whole file: never on the event loop.
        return prepared_identity(await on_own_thread("model", lambda: locate(model)))

    async def prepare(self, model: str) -> PreparedModel:
        """Loads it."""
        return await prepare(model, self._cache, self._threads, reference=self._reference)

    async def keep_only(self, identities: Collection[str]) -> None:
        """Removes files."""
        await on_own_thread("model", lambda: self._remove_others(identities))

    def _remove_others(self, identities: Collection[str]) -> None:
        for directory in self._cache.iterdir():
            if directory.name in identities:
                _remove_files_of_former_versions(directory)
            else:
                shutil.rmtree(directory, ignore_errors=True)


def _remove_files_of_former_versions(directory: Path) -> None:
    for file in directory.iterdir():
        if file.name not in KEPT_FILES:
            file.unlink(missing_ok=True)
