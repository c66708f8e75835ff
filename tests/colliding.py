"""Kinds of record that have one id: the hash of the tests, as nobody can make them with the real one."""

from collections.abc import Iterable

import pytest

from treering_runtime.patterns import ids

ONE_ID = 0xC011_1DED_0000_0001
"""The id of every kind that collides."""


def collide(monkeypatch: pytest.MonkeyPatch, *texts: str, wanted: int = ONE_ID) -> None:
    """From here on kinds of these masked messages have one id, and all others their own."""
    real = ids.fingerprint

    def fingerprint(service: str, text: str) -> int:
        found = real(service, text)
        return (found & ~((1 << 64) - 1)) | wanted if text in texts else found

    monkeypatch.setattr(ids, "fingerprint", fingerprint)


def former(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on ids are those of mask version 2."""

    def fingerprint(service: str, text: str) -> int:
        found = ids.former_pattern_id(service, text)
        return found << 64 | found

    monkeypatch.setattr(ids, "fingerprint", fingerprint)


def rows(kinds: Iterable[tuple[str, str]]) -> list[tuple[int, str, str]]:
    """Kinds with the ids that they would have now."""
    return [(ids.pattern_id(*kind), *kind) for kind in kinds]
