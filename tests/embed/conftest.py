import signal
import subprocess
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient

from tests.embed.embed_doubles import settings_for
from tests.embed.embed_processes import SERVICE, end, start_service
from treering_embed.settings import EmbedSettings


@pytest.fixture
def settings(tmp_path: Path) -> EmbedSettings:
    return settings_for(tmp_path / "embed")


@pytest.fixture
def local_qdrant() -> Iterator[Any]:
    """The client's own imitation of a server; it warns of what it does not do (payload indexes, search parameters)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Payload indexes have no effect|Local mode performs exact", UserWarning)
        client = QdrantClient(":memory:")
        yield client
        client.close()


@pytest.fixture
def start() -> Iterator[Callable[..., tuple[subprocess.Popen[str], str]]]:
    """Starts services, and ends those that a failed test left."""
    children: list[subprocess.Popen[str]] = []

    def begin(data_dir: Path, command: Sequence[str] = SERVICE) -> tuple[subprocess.Popen[str], str]:
        child, address = start_service(data_dir, command)
        children.append(child)
        return child, address

    yield begin
    for child in children:
        if child.poll() is None:
            end(child, signal.SIGKILL)
