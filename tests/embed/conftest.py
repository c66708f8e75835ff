import sys
import warnings
from pathlib import Path

import pytest
from qdrant_client import QdrantClient

sys.path.insert(0, str(Path(__file__).parent))

from embed_doubles import settings_for


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
