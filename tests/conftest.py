"""What tests of several parts need."""

import subprocess

import pytest
from hypothesis import settings

from tests.hostile import ALL

pytest_plugins = ["tests.time_limit"]

settings.register_profile("untimed", settings.default, deadline=None, max_examples=500 if ALL else 100)
settings.load_profile("untimed")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 16 MiB; it needs root."""
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=700", "tmpfs", str(path)], check=True)
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)
