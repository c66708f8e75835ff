"""Kinds of record that have one id: the hash of the tests, as nobody can make them with the real one."""

from collections.abc import Callable, Iterable

import pytest

from treering_runtime import pattern_id
from treering_runtime.patterns import ids

ONE_ID = 0xC011_1DED_0000_0001
"""The id of every kind that collides."""


def collide(monkeypatch: pytest.MonkeyPatch, *texts: str, wanted: int = ONE_ID) -> None:
    """From here on kinds of these masked messages have one id, and all others their own."""
    real = pattern_id.fingerprint

    def fingerprint(service: str, text: str) -> int:
        found = real(service, text)
        return (found & ~((1 << 64) - 1)) | wanted if text in texts else found

    replace(monkeypatch, fingerprint)


def replace(monkeypatch: pytest.MonkeyPatch, fingerprint: Callable[[str, str], int]) -> None:
    """Puts another hash in the place of the real one, wherever that is used."""
    for module in (pattern_id, ids):
        monkeypatch.setattr(module, "fingerprint", fingerprint)


def former(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on ids are those of mask version 2."""

    def fingerprint(service: str, text: str) -> int:
        found = ids.former_pattern_id(service, text)
        return found << 64 | found

    replace(monkeypatch, fingerprint)


def rows(kinds: Iterable[tuple[str, str]]) -> list[tuple[int, str, str]]:
    """Kinds with the ids that they would have now."""
    return [(pattern_id.pattern_id(*kind), *kind) for kind in kinds]
