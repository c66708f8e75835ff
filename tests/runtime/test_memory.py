"""What is freed goes back to the operating system."""

import sys

import psutil
import pytest

from treering_runtime.memory import release_freed


@pytest.mark.skipif(sys.platform != "linux", reason="needs glibc")
def test_memory_between_pieces_that_live_on_is_given_back() -> None:
    process = psutil.Process()
    pieces = [b"x" * 60_000 for _ in range(4_000)]
    kept = pieces[::50]
    full = process.memory_info().rss
    del pieces
    release_freed()
    assert process.memory_info().rss < full - 100_000_000
    assert all(len(piece) == 60_000 for piece in kept)


@pytest.mark.parametrize(("platform", "trims"), [("linux", 1), ("darwin", 0), ("win32", 0)])
def test_other_systems_than_linux_are_left_alone(monkeypatch: pytest.MonkeyPatch, platform: str, trims: int) -> None:
    class Library:
        trimmed = 0

        def malloc_trim(self, _pad: object) -> None:
            Library.trimmed += 1

    monkeypatch.setattr("treering_runtime.memory.sys.platform", platform)
    monkeypatch.setattr("treering_runtime.memory.ctypes.CDLL", lambda _name: Library())
    release_freed()
    assert Library.trimmed == trims
