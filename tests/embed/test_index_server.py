from typing import Any

import pytest
from qdrant_client import models

from tests.embed.embed_doubles import DIMENSION, point
from treering_embed.index import IndexFaultError
from treering_embed.index.server import ServerIndex, connect


def test_a_foreign_collection_is_refused_by_name(local_qdrant: Any) -> None:
    local_qdrant.create_collection("treering-x", vectors_config=models.VectorParams(size=3, distance=models.Distance.DOT))
    with pytest.raises(IndexFaultError, match="treering-x was made by something else"):
        ServerIndex(local_qdrant, "treering-x", "treering", DIMENSION)


def test_the_alias_follows_the_newest_identity(local_qdrant: Any) -> None:
    for identity in ("a", "b", "b"):
        ServerIndex(local_qdrant, f"treering-{identity}", "treering", DIMENSION).expose()
    assert [(a.alias_name, a.collection_name) for a in local_qdrant.get_aliases().aliases] == [("treering", "treering-b")]


def test_reopening_keeps_points(local_qdrant: Any) -> None:
    ServerIndex(local_qdrant, "treering-x", "treering", DIMENSION).upsert([point(1)])
    assert ServerIndex(local_qdrant, "treering-x", "treering", DIMENSION).all_ids().tolist() == [1]


def test_a_server_that_is_down_is_a_fault_worth_another_attempt() -> None:
    with pytest.raises(IndexFaultError, match="the Qdrant server does not answer"):
        ServerIndex(connect("http://127.0.0.1:1", ""), "treering-x", "treering", DIMENSION)
