"""The page docs/investigating.md says what its commands say."""

import subprocess
import sys

import pytest

from .conftest import COMMAND_S, ROOT, environment

pytestmark = pytest.mark.system


def test_the_page_is_what_its_commands_say() -> None:
    command = [sys.executable, str(ROOT / "demo/investigate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=2 * COMMAND_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
