"""The files beside a log that may be its older parts."""

import os
import time
from collections.abc import Iterable
from pathlib import Path, PurePath

from treering_cli.file_names import family

_MOST_PARTS = 10_000
"""Of a directory; of more, those that changed last are looked at."""

_TICK_S = 1.0
"""A directory may change again within the tick of its own time, seconds: file systems have some of a second at most."""

Family = tuple[str, str, str]


class Parts:
    """Lists the files of logs, by directory. A directory is read again when it has changed."""

    def __init__(self) -> None:
        self._listed: dict[str, tuple[int, frozenset[Family], list[str]]] = {}

    def of(self, families: Iterable[Family]) -> list[str]:
        """The paths of files that are of these families by their names."""
        wanted: dict[str, set[Family]] = {}
        for each in families:
            wanted.setdefault(each[0], set()).add(each)
        return [path for directory, inside in wanted.items() for path in self._of(directory, frozenset(inside))]

    def _of(self, directory: str, families: frozenset[Family]) -> list[str]:
        try:
            changed_ns = Path(directory).stat().st_mtime_ns
            listed = self._listed.get(directory)
            if listed is not None and listed[:2] == (changed_ns, families):
                return listed[2]
            # Its time is taken before: what comes while it is read makes it another one.
            paths = [path for each in os.scandir(directory) if family(path := str(PurePath(directory, each.name))) in families]
        except OSError:
            return []
        paths = _newest(paths) if len(paths) > _MOST_PARTS else paths
        self._listed.pop(directory, None)
        if time.time() - changed_ns / 1e9 > _TICK_S:
            self._listed[directory] = (changed_ns, families, paths)
        return paths


def _newest(paths: list[str]) -> list[str]:
    return sorted(paths, key=_modified, reverse=True)[:_MOST_PARTS]


def _modified(path: str) -> float:
    try:
        return Path(path).stat().st_mtime
    except OSError:
        return 0.0
