"""A program of the first frozen version, with the SDK of that version, against today's services."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.conftest import Up

from .conftest import COMMAND_S, ROOT, environment

pytestmark = pytest.mark.system
FROZEN = ROOT / "tests" / "contract" / "frozen"


def test_what_was_written_for_the_first_version_goes_on_working(up: Up) -> None:
    command = [sys.executable, FROZEN / "client.py", *(up.ready[name] for name in ("ingest", "embed", "query"))]
    paths = os.pathsep.join([str(FROZEN / "sdk.zip"), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(command, capture_output=True, text=True, env=environment(PYTHONPATH=paths), timeout=COMMAND_S, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert Path(said.pop("sdk")).parent.parent == FROZEN / "sdk.zip"
    found = said.pop("found")
    assert (found[0]["pattern"], found[0]["count"], found[0]["records"]) == ("payment <*> timed out", 100, 1)
    assert said == {
        "accepted": 300,
        "aggregate": {"200": 200, "500": 100},
        "sql": [{"n": 300}],
        "patterns": ["payment <*> timed out", "payment <*> was accepted"],
        "tail": ["payment 297 timed out", "payment 298 was accepted", "payment 299 was accepted"],
        "error": {"kind": "InvalidArgumentError", "reason": "INVALID_FIELD", "field": "text"},
        "status": {"ingest": True, "query": True, "embed": True},
    }
