"""macOS cannot be had here: its branch runs with the calls of the system replaced."""

import errno
import fcntl
import os
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

import treering_runtime.fsync

FULL_FSYNC = 51


def on_darwin(monkeypatch: pytest.MonkeyPatch, error: int | None = None) -> tuple[dict[str, Any], list[tuple[str, Any, Any]]]:
    """The module as macOS would load it, and the calls that it makes."""
    calls = []

    def full(descriptor: int, command: Any) -> None:
        calls.append(("fcntl", descriptor, command))
        if error:
            raise OSError(error, os.strerror(error))

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", FULL_FSYNC, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", full)
    monkeypatch.setattr(os, "fsync", lambda descriptor: calls.append(("fsync", descriptor)))
    return runpy.run_path(treering_runtime.fsync.__file__), calls


@pytest.mark.parametrize("name", ["fsync", "fdatasync"])
def test_macos_empties_the_cache_of_the_drive(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    module, calls = on_darwin(monkeypatch)
    module[name](7)
    assert calls == [("fcntl", 7, FULL_FSYNC)]


@pytest.mark.parametrize("error", [errno.ENOTSUP, errno.EINVAL, errno.ENOTTY])
def test_a_file_system_of_macos_without_it_gets_an_fsync(monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    module, calls = on_darwin(monkeypatch, error)
    module["fsync"](7)
    assert calls == [("fcntl", 7, FULL_FSYNC), ("fsync", 7)]


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_an_error_of_the_drive_is_not_covered_by_another_fsync(monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    module, calls = on_darwin(monkeypatch, error)
    with pytest.raises(OSError, match=os.strerror(error)):
        module["fsync"](7)
    assert calls == [("fcntl", 7, FULL_FSYNC)]


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has its own")
def test_elsewhere_they_are_those_of_the_system() -> None:
    assert (treering_runtime.fsync.fsync, treering_runtime.fsync.fdatasync) == (os.fsync, os.fdatasync)


def test_nothing_in_the_services_syncs_by_itself() -> None:
    """An `os.fsync` that was written elsewhere would promise less on macOS."""
    services = Path(__file__).resolve().parents[2] / "services"
    direct = [str(file) for file in services.rglob("*.py") if "os.fsync" in file.read_text() or "os.fdatasync" in file.read_text()]
    assert [name for name in direct if not name.endswith("treering_runtime/fsync.py")] == []
