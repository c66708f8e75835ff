"""Opens and removes the index that the settings name. Engines are imported here, when asked for: the one that is not used costs nothing."""

import shutil
from pathlib import Path

import structlog

from treering_embed.index import Index, IndexFaultError
from treering_embed.settings import EmbedSettings

_LOG = structlog.get_logger()

_EDGE_DIRECTORY = "index"


def open_index(settings: EmbedSettings, name: str, dimension: int) -> Index:
    """Opens or makes the index of a name (`IndexNote.name`).

    Raises:
        IndexFaultError: It cannot be opened at the moment.
    """
    if settings.index == "server":
        from treering_embed.index.server import ServerIndex, connect  # noqa: PLC0415

        client = connect(settings.qdrant_url, settings.qdrant_api_key.get_secret_value())
        alias = settings.qdrant_collection
        return ServerIndex(client, f"{alias}-{name}", alias, dimension)
    return open_edge(settings.data_dir / _EDGE_DIRECTORY, name, dimension)


def open_edge(parent: Path, name: str, dimension: int) -> Index:
    """Opens the embedded index below `parent`; one that is damaged is set aside, and an empty one takes its place.

    Raises:
        IndexFaultError: The disk is too full.
    """
    from treering_embed.index.edge import DamagedIndexError, EdgeIndex  # noqa: PLC0415

    path = parent / name
    try:
        return EdgeIndex(path, dimension)
    except DamagedIndexError as damage:
        aside = path.with_suffix(".damaged")
        _LOG.error("the index is damaged; it is set aside and rebuilt from the registry", problem=str(damage), kept_at=str(aside))
        # One damaged index is kept for whoever looks into it. The older one goes: a rename onto a directory that is not empty fails.
        shutil.rmtree(aside, ignore_errors=True)
        path.rename(aside)
        # The index is a view of the registry: `verify` finds this one empty, and sends every pattern back to wait.
        return EdgeIndex(path, dimension)


def drop_index(settings: EmbedSettings, name: str) -> None:
    """Removes an index that nobody has open; one that is not there is fine.

    Raises:
        IndexFaultError: It cannot be removed at the moment.
    """
    if settings.index == "server":
        from treering_embed.index.server import connect, drop_collection  # noqa: PLC0415

        drop_collection(connect(settings.qdrant_url, settings.qdrant_api_key.get_secret_value()), f"{settings.qdrant_collection}-{name}")
    else:
        _remove(settings.data_dir / _EDGE_DIRECTORY / name)


def _remove(path: Path) -> None:
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        pass
    # Raised, so that its name stays on the list of what is to go: forgotten, it would take its room for ever.
    except OSError as error:
        raise IndexFaultError(f"index {path.name}: it is not used any more and cannot be removed: {error.strerror}") from error
