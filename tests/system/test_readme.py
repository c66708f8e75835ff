"""The program of the README does what it says."""

import re
import subprocess
import sys

import pytest

from tests.system.conftest import Up

from .conftest import COMMAND_S, ROOT, environment

pytestmark = pytest.mark.system


def test_the_program_of_the_readme_finds_what_it_sends(up: Up) -> None:
    [program] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    places = {f"TREERING_{name.upper()}": up.ready[name] for name in ("ingest", "embed", "query")}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment(**places), timeout=COMMAND_S, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    *results, rows = done.stdout.splitlines()
    assert any(re.fullmatch(r"0\.\d+ \d+ payment <\*> timed out", line) for line in results)
    assert "'service': 'checkout'" in rows
