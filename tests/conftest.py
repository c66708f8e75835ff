"""What tests of several parts need."""

import subprocess

import pytest


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 16 MiB; it needs root."""
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=700", "tmpfs", str(path)], check=True)
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)
