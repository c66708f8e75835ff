"""Qdrant Edge: the engine as a library, in this process, one directory.

Known of Edge 0.9 and dealt with here: `update` is durable only after `flush`; a full disk kills the process, so free space is checked
before; it takes vectors that are not finite; a second open damages the first, which the data directory's lock prevents; `optimize`
holds the interpreter's lock for seconds, so it is never called and search stays exact.

Vectors are *cold*: mapped once, each page when it is first read; otherwise Edge maps the files twice and reads all of them at the start.
Token vectors, six of seven bytes here, are kept in 8 bits a number (`Turbo8`): half of float16, and the score of a text moves by less
than 0.0005 where unrelated patterns differ by 0.01.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import qdrant_edge as qe
from numpy.typing import NDArray

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
from treering_embed.limits import LATE_DIMENSION, MIN_FREE_BYTES

_SCROLL = 10_000
_UPSERT = 32
"""Points of one update: the interpreter's lock is held for 8 ms, and searches get in between."""

_T = TypeVar("_T")
_EXACT = qe.SearchParams(exact=True)


class EdgeIndex:
    """An open shard.

    Args:
        path: Its directory; made if there is none.
        dimension: Numbers in a dense vector.
        min_free_bytes: Space on the disk below which nothing is opened or written.

    Raises:
        IndexFaultError: The disk is too full to open it.
        DamagedIndexError: The files cannot be read; the caller rebuilds.
    """

    kind = "edge"

    def __init__(self, path: Path, dimension: int, min_free_bytes: int = MIN_FREE_BYTES) -> None:
        self._path = path
        self._min_free_bytes = min_free_bytes
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Before the load: it maps the files, and a page that finds no space on the disk is SIGBUS, the end of the process.
        self._check_space()
        # Empty: a new index, or a crash right after `mkdir`.
        self._shard = _load(path) if any(path.iterdir()) else _create(path, dimension)

    def upsert(self, points: Sequence[PatternPoint]) -> None:
        """Adds or replaces points."""
        check_finite(points)
        for start in range(0, len(points), _UPSERT):
            # Again for each part: the whole batch may be larger than what was free at its beginning.
            self._check_space()
            made = [_point(point) for point in points[start : start + _UPSERT]]
            self._call(self._shard.update, qe.UpdateOperation.upsert_points(made))

    def flush(self) -> None:
        """Writes everything to the disk."""
        self._check_space()
        self._call(self._shard.flush)

    def delete(self, pattern_ids: Sequence[int]) -> None:
        """Removes points."""
        # A deletion is written to the shard's own log first, so it needs space too.
        self._check_space()
        self._call(self._shard.update, qe.UpdateOperation.delete_points(list(pattern_ids)))

    def all_ids(self) -> NDArray[np.uint64]:
        """The ids of all points."""
        ids: list[int] = []
        offset = None
        while True:
            request = qe.ScrollRequest(offset=offset, limit=_SCROLL, with_payload=False, with_vector=False)
            records, offset = self._call(self._shard.scroll, request)
            ids += [record.id for record in records]
            if offset is None:
                return np.array(ids, np.uint64)

    def nearest(self, dense: NDArray[np.float32], limit: int, selection: IndexSelection = EVERYTHING) -> IndexHits:
        """The points with the greatest cosine."""
        return self._query(qe.Query.Nearest(dense.tolist(), using=DENSE), limit, selection)

    def late(self, tokens: Matrix, pattern_ids: frozenset[int]) -> IndexHits:
        """Late interaction with the points named."""
        return self._query(qe.Query.Nearest(tokens.tolist(), using=TOKENS), len(pattern_ids), IndexSelection(pattern_ids))

    def expose(self) -> None:
        """Nothing to do: nobody else opens the directory."""

    def close(self) -> None:
        """Closes the shard, which also flushes it."""
        self._shard.close()

    def _query(self, query: qe.Query, limit: int, selection: IndexSelection) -> IndexHits:
        if selection.empty or not limit:
            return IndexHits.of([], [])
        request = qe.QueryRequest(limit=limit, query=query, filter=_filter(selection), params=_EXACT)
        found = self._call(self._shard.query, request)
        return IndexHits.of([point.id for point in found], [point.score for point in found])

    def _call(self, function: Callable[..., _T], *arguments: object) -> _T:
        try:
            return function(*arguments)
        except Exception as error:  # Edge raises nothing more special
            # callers hear it, and are not to learn where the data directory is
            raise IndexFaultError(f"index {self._path.name}: {error}".replace(f"{self._path}", self._path.name)) from error

    def _check_space(self) -> None:
        free = shutil.disk_usage(self._path).free
        if free < self._min_free_bytes:
            problem = f"{free} bytes are free, {self._min_free_bytes} are needed; make room on its disk"
            raise IndexFaultError(f"index {self._path.name}: {problem}")


class DamagedIndexError(Exception):
    """The files of a shard cannot be read."""


def _load(path: Path) -> Any:
    try:
        return qe.EdgeShard.load(str(path))
    except Exception as error:  # Edge raises nothing more special
        raise DamagedIndexError(f"{path}: {error}") from error


def _create(path: Path, dimension: int) -> Any:
    # No graph: it is built by `optimize`, which is never called, and exact search reads the vectors themselves.
    no_graph = qe.HnswIndexConfig(m=0, ef_construct=16, full_scan_threshold=10_000_000)
    tokens = qe.EdgeVectorParams(
        size=LATE_DIMENSION,
        distance=qe.Distance.Dot,
        multivector_config=qe.MultiVectorConfig(qe.MultiVectorComparator.MaxSim),
        datatype=qe.VectorStorageDatatype.Turbo8,
        hnsw_config=no_graph,
        memory=qe.Memory.Cold,
    )
    vectors = {DENSE: qe.EdgeVectorParams(size=dimension, distance=qe.Distance.Cosine, memory=qe.Memory.Cold), TOKENS: tokens}
    shard = qe.EdgeShard.create(str(path), qe.EdgeConfig(vectors=vectors, wal_enabled=True))
    shard.update(qe.UpdateOperation.create_field_index(SERVICE, qe.KeywordIndexParams()))
    # A crash before this leaves files that may not load; then they are set aside, and the index is made again.
    shard.flush()
    return shard


def _point(point: PatternPoint) -> Any:
    vectors: Any = {DENSE: point.dense.tolist(), TOKENS: point.tokens.tolist()}
    return qe.Point(id=point.pattern_id, vector=vectors, payload={SERVICE: point.service})


def _filter(selection: IndexSelection) -> Any:
    conditions: list[Any] = []
    if selection.pattern_ids is not None:
        conditions.append(qe.HasIdCondition(set(selection.pattern_ids)))
    if selection.services:
        conditions.append(qe.FieldCondition(key=SERVICE, match=qe.MatchAny(list(selection.services))))
    return qe.Filter(must=conditions) if conditions else None
