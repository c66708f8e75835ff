"""A Qdrant server or cluster by qdrant-client.

The collection carries the index identity in its name; people and dashboards reach it by an alias.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import grpc
import numpy as np
from numpy.typing import NDArray
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException

from treering_embed.encoder import Matrix
from treering_embed.index import (
    DENSE,
    EVERYTHING,
    SERVICE,
    TOKENS,
    IndexFaultError,
    IndexHits,
    IndexSelection,
    PatternPoint,
    check_finite,
)
from treering_embed.limits import INDEX_SEARCH_TIMEOUT_S, INDEX_TIMEOUT_S, LATE_DIMENSION

_SCROLL = 10_000
_MIN_VERSION = (1, 10)
_EXACT = models.SearchParams(exact=True)
_T = TypeVar("_T")


def connect(url: str, api_key: str) -> QdrantClient:
    """A client that speaks gRPC to `url`, never through a proxy; opens no connection yet."""
    secure = url.startswith("https://")
    # Qdrant's client takes host and port apart; an IPv6 address has colons itself, so the last one counts.
    host, _, port = url.partition("://")[2].rstrip("/").rpartition(":")
    return QdrantClient(
        host=host,
        grpc_port=int(port),
        prefer_grpc=True,
        https=secure,
        api_key=api_key or None,
        timeout=INDEX_TIMEOUT_S,
        # The client would ask the server for its version here and only warn; `_check_version` asks later, and refuses.
        check_compatibility=False,
        grpc_options={"grpc.enable_http_proxy": 0},
        trust_env=False,  # the same for what it asks over HTTP
    )


class ServerIndex:
    """A collection of a server; made if there is none.

    Args:
        client: Who to ask.
        collection: The collection's name.
        alias: Points at the collection once it is exposed.
        dimension: Numbers in a dense vector.

    Raises:
        IndexFaultError: The server does not answer, or the collection is a foreign one.
    """

    kind = "server"

    def __init__(self, client: QdrantClient, collection: str, alias: str, dimension: int) -> None:
        self._client = client
        self._collection = collection
        self._alias = alias
        self._check_version()
        if not self._call(client.collection_exists, collection):
            self._create(dimension)
        # The name proves nothing: somebody else's collection may have it.
        self._check_shape(dimension)

    def upsert(self, points: Sequence[PatternPoint]) -> None:
        """Adds or replaces points; returns when the server has them on disk."""
        check_finite(points)
        made = [
            models.PointStruct(
                id=point.pattern_id,
                vector={DENSE: point.dense.tolist(), TOKENS: point.tokens.tolist()},
                payload={SERVICE: point.service},
            )
            for point in points
        ]
        # `wait`: without it the server answers when the change is queued, and a crash of the server loses it.
        self._call(self._client.upsert, self._collection, made, wait=True)

    def flush(self) -> None:
        """Nothing to do: every change waits until the server has it on disk."""

    def delete(self, pattern_ids: Sequence[int]) -> None:
        """Removes points."""
        self._call(self._client.delete, self._collection, models.PointIdsList(points=list(pattern_ids)), wait=True)

    def all_ids(self) -> NDArray[np.uint64]:
        """The ids of all points."""
        ids: list[int] = []
        offset: Any = None
        while True:
            records, offset = self._call(
                self._client.scroll, self._collection, limit=_SCROLL, offset=offset, with_payload=False, with_vectors=False
            )
            ids += [int(record.id) for record in records]
            if offset is None:
                return np.array(ids, np.uint64)

    def nearest(self, dense: NDArray[np.float32], limit: int, selection: IndexSelection = EVERYTHING) -> IndexHits:
        """The points with the greatest cosine."""
        return self._query(dense.tolist(), DENSE, limit, selection)

    def late(self, tokens: Matrix, pattern_ids: frozenset[int]) -> IndexHits:
        """Late interaction with the points named."""
        return self._query(tokens.tolist(), TOKENS, len(pattern_ids), IndexSelection(pattern_ids))

    def expose(self) -> None:
        """Lets the alias point here, in one step."""
        # Asked first: a start changes nothing where all is as it should be.
        aliases = self._call(self._client.get_aliases).aliases
        if any(found.alias_name == self._alias and found.collection_name == self._collection for found in aliases):
            return
        drop = [models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=self._alias))]
        make = models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=self._collection, alias_name=self._alias))
        had = any(found.alias_name == self._alias for found in aliases)
        # Both in one request, which the server applies as one: people who search by the alias never find it missing.
        self._call(self._client.update_collection_aliases, [*(drop if had else []), make])

    def close(self) -> None:
        """Closes the connection."""
        self._client.close()

    def _query(self, query: Any, using: str, limit: int, selection: IndexSelection) -> IndexHits:
        if selection.empty or not limit:
            return IndexHits.of([], [])
        found = self._call(
            self._client.query_points,
            self._collection,
            query=query,
            using=using,
            limit=limit,
            query_filter=_filter(selection),
            search_params=_EXACT,
            with_payload=False,
            # A search must fail before the query service stops waiting for it.
            timeout=INDEX_SEARCH_TIMEOUT_S,
        )
        return IndexHits.of([int(point.id) for point in found.points], [point.score for point in found.points])

    def _create(self, dimension: int) -> None:
        tokens = models.VectorParams(
            size=LATE_DIMENSION,
            distance=models.Distance.DOT,
            multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
            datatype=models.Datatype.FLOAT16,
            # `m=0`: no graph over token vectors. They are only compared for the candidates of the dense search.
            hnsw_config=models.HnswConfigDiff(m=0),
        )
        vectors = {DENSE: models.VectorParams(size=dimension, distance=models.Distance.COSINE), TOKENS: tokens}
        self._call(self._client.create_collection, self._collection, vectors_config=vectors)
        # Without it, a search within some services would read the payload of every point.
        self._call(self._client.create_payload_index, self._collection, SERVICE, models.PayloadSchemaType.KEYWORD, wait=True)

    def _check_shape(self, dimension: int) -> None:
        vectors = self._call(self._client.get_collection, self._collection).config.params.vectors
        sizes = {name: params.size for name, params in vectors.items()} if isinstance(vectors, dict) else {}
        if sizes != {DENSE: dimension, TOKENS: LATE_DIMENSION}:
            raise IndexFaultError(
                f"the collection {self._collection} was made by something else; rename or remove it, or set qdrant_collection"
            )

    def _check_version(self) -> None:
        """Multivectors and their exact search came with 1.10."""
        found = self._call(self._client.info).version
        if tuple(int(part) for part in found.split(".")[:2] if part.isdecimal()) < _MIN_VERSION:
            wanted = ".".join(map(str, _MIN_VERSION))
            raise IndexFaultError(f"the Qdrant server has version {found or 'unknown'}, {wanted} or newer is needed; upgrade the server")

    def _call(self, function: Callable[..., _T], *arguments: Any, **options: Any) -> _T:
        return _called(function, *arguments, **options)


def drop_collection(client: QdrantClient, collection: str) -> None:
    """Removes a collection; one that is not there is fine.

    Raises:
        IndexFaultError: The server does not answer.
    """
    try:
        if _called(client.collection_exists, collection):
            _called(client.delete_collection, collection)
    # The client is one of its own, made for this call: closed whatever the outcome.
    finally:
        client.close()


def _called(function: Callable[..., _T], *arguments: Any, **options: Any) -> _T:
    try:
        return function(*arguments, **options)
    except (
        grpc.RpcError,
        ApiException,
        ResponseHandlingException,
        ValueError,
        OSError,
    ) as error:  # ValueError: an answer of another version
        raise IndexFaultError(_explained(function.__name__, error)) from error


def _explained(name: str, error: Exception) -> str:
    # `RpcError` alone promises no code; the errors of calls are a `Call` too, and have one.
    code = error.code() if isinstance(error, grpc.Call) else None
    if code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
        return f"the Qdrant server does not answer ({name}: {code.name})"
    if code in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}:
        return f"the Qdrant server refuses the key ({name}: {code.name}); check qdrant_api_key"
    return f"the Qdrant server does not do {name}: {code.name if code else type(error).__name__}"


def _filter(selection: IndexSelection) -> models.Filter | None:
    conditions: list[models.Condition] = []
    if selection.pattern_ids is not None:
        conditions.append(models.HasIdCondition(has_id=list(selection.pattern_ids)))
    if selection.services:
        conditions.append(models.FieldCondition(key=SERVICE, match=models.MatchAny(any=list(selection.services))))
    return models.Filter(must=conditions) if conditions else None
