"""Objects of segments in memory: the second implementation of `SegmentStore`. Files of this machine are copies, as of a remote store."""

from collections.abc import Callable, Mapping
from pathlib import Path

import xxhash

from treering_query.sealed.segment_store import ObjectExistsError, Stored


class MemorySegments:
    """`objects` outlives it as far as the test wants; copies that are opened go into `cache`."""

    place = "memory"

    def __init__(self, objects: dict[str, bytes], cache: Path) -> None:
        self._objects = objects
        self._cache = cache
        cache.mkdir(exist_ok=True)

    def put_new(self, name: str, write: Callable[[Path], object]) -> Stored:
        if name in self._objects:
            raise ObjectExistsError(name)
        staged = self._cache / "staged"
        write(staged)
        content = self._objects[name] = staged.read_bytes()
        return Stored(len(content), xxhash.xxh3_64_intdigest(content))

    def open(self, name: str) -> Path:
        copy = self._cache / name
        if not copy.exists():
            copy.write_bytes(self._content(name))
        return copy

    def read_range(self, name: str, first: int, end: int | None = None) -> bytes:
        return self._content(name)[first:end]

    def listed(self) -> Mapping[str, int]:
        return {name: len(content) for name, content in self._objects.items()}

    def delete(self, name: str) -> None:
        self._objects.pop(name, None)
        (self._cache / name).unlink(missing_ok=True)

    def _content(self, name: str) -> bytes:
        try:
            return self._objects[name]
        except KeyError:
            raise FileNotFoundError(2, "No such object", name) from None
