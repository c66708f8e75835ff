"""What tests of several parts need."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.hostile import ALL

pytest_plugins = ["tests.time_limit"]

# without the examples of earlier runs, a round of `make hostile` is the same when it is repeated
_DATABASE = None if ALL else settings.default.database
settings.register_profile("untimed", settings.default, deadline=None, max_examples=500 if ALL else 100, database=_DATABASE)
settings.load_profile("untimed")


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """What this process has logged since the last look; where that goes depends on what configured logging before."""
    return lambda: "".join(capsys.readouterr())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB; it needs root."""
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=700", "tmpfs", str(path)], check=True)
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)
