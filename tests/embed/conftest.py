import signal
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import pytest
from qdrant_client import QdrantClient

sys.path.insert(0, str(Path(__file__).parent))

from embed_doubles import settings_for
from embed_processes import SERVICE, end, start_service


@pytest.fixture
def settings(tmp_path):
    return settings_for(tmp_path / "embed")


@pytest.fixture
def local_qdrant():
    """The client's own imitation of a server; it warns of what it does not do (payload indexes, search parameters)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Payload indexes have no effect|Local mode performs exact", UserWarning)
        client = QdrantClient(":memory:")
        yield client
        client.close()


@pytest.fixture
def start():
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
