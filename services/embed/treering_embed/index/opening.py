"""Opens the index that the settings name. Engines are imported here, when asked for: the one that is not used costs nothing."""

import shutil
from pathlib import Path

import structlog

from treering_embed.index import Index
from treering_embed.settings import EmbedSettings

_LOG = structlog.get_logger()


def open_index(settings: EmbedSettings, identity: str, dimension: int) -> Index:
    """Opens or makes the index of an identity.

    Raises:
        IndexFaultError: It cannot be opened at the moment.
    """
    if settings.index == "server":
        from treering_embed.index.server import ServerIndex, connect  # noqa: PLC0415

        client = connect(settings.qdrant_url, settings.qdrant_api_key)
        name = settings.qdrant_collection
        return ServerIndex(client, f"{name}-{identity}", name, dimension)
    return open_edge(settings.data_dir / "index", identity, dimension)


def open_edge(parent: Path, identity: str, dimension: int) -> Index:
    """Opens the embedded index below `parent`; one that is damaged is set aside, and an empty one takes its place.

    Raises:
        IndexFaultError: The disk is too full.
    """
    from treering_embed.index.edge import DamagedIndexError, EdgeIndex  # noqa: PLC0415

    path = parent / identity
    try:
        return EdgeIndex(path, dimension)
    except DamagedIndexError as damage:
        aside = path.with_suffix(".damaged")
        _LOG.error("the index is damaged; it is set aside and rebuilt from the registry", problem=str(damage), kept_at=str(aside))
        shutil.rmtree(aside, ignore_errors=True)
        path.rename(aside)
        return EdgeIndex(path, dimension)
