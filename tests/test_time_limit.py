"""Tests that hang, in a run of their own: each must fail alone."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CONFTEST = """
pytest_plugins = ["tests.time_limit"]

def pytest_configure(config):
    plugin = config.pluginmanager.getplugin("tests.time_limit")
    plugin.LIMIT_S, plugin.GRACE_S = 0.3, 2.0  # the watchdog, four graces later, must not come first on a busy machine
"""
HEAD = """
import asyncio, contextlib, itertools, queue, subprocess, threading
import pytest
from hypothesis import given, settings, strategies

async def deep_inside():
    await asyncio.Event().wait()

@pytest.fixture
def hangs_before():
    threading.Event().wait()

@pytest.fixture
async def hangs_after():
    yield
    await deep_inside()

"""
HANGING = {
    "waits": "async def test():\n    task = asyncio.create_task(deep_inside(), name='beside')\n    await deep_inside()",
    "spins": "async def test():\n    while True:\n        await asyncio.sleep(0)",
    "blocks_its_loop": "async def test():\n    queue.Queue().get()",
    "ignores_its_cancellation": (
        "async def test():\n    while True:\n        with contextlib.suppress(asyncio.CancelledError):\n            await deep_inside()"
    ),
    "ends_well_after_its_cancellation": (
        "async def test():\n    with contextlib.suppress(asyncio.CancelledError):\n        await deep_inside()"
    ),
    "waits_for_a_queue": "def test():\n    queue.Queue().get()",
    "waits_for_a_process": "def test():\n    subprocess.run(['sleep', '1000'])",
    "waits_for_a_thread": (
        "def test():\n    thread = threading.Thread(target=threading.Event().wait, name='the-other', daemon=True)\n"
        "    thread.start()\n    thread.join()"
    ),
    "generates": "@settings(deadline=None)\n@given(strategies.integers())\ndef test(number):\n    threading.Event().wait()",
    "before": "def test(hangs_before):\n    pass",
    "after": "async def test(hangs_after):\n    pass",
}
HEALTHY = "@pytest.mark.time_limit(60)\nasync def test():\n    await asyncio.sleep(0)"


def run(folder: Path, *tests: tuple[str, str]) -> tuple[int, str]:
    """Runs tests of these names and bodies, each file with one; the exit code and what was printed."""
    (folder / "conftest.py").write_text(CONFTEST)
    for number, (name, body) in enumerate(tests):
        (folder / f"test_{number:02}_{name}.py").write_text(HEAD + body + "\n")
    options = ["asyncio_mode=auto", "asyncio_default_fixture_loop_scope=function", "filterwarnings=error"]
    command = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", "--rootdir", str(folder), str(folder)]
    command += [word for option in options for word in ("-o", option)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_test_that_hangs_fails_alone_and_the_run_goes_on(tmp_path: Path) -> None:
    code, said = run(tmp_path, *(pair for each in HANGING.items() for pair in (each, ("healthy", HEALTHY))))
    results = re.findall(r"^(FAILED|ERROR|PASSED) test_\d+_(\w+)\.py::test", said, re.MULTILINE)
    bad = {name for result, name in results if result != "PASSED"}
    assert (code, bad) == (1, set(HANGING)), said
    assert results.count(("PASSED", "healthy")) == len(HANGING)
    assert len(re.findall("over its limit of 0.3 s", said)) >= len(HANGING)
    # where everything was: a task that waits, the one beside it, a thread
    assert re.search(r"task beside\n.*deep_inside", said)
    assert re.search(r"task Task-\d+\n.*in test\n.*\n.*in deep_inside", said)
    assert re.search(r"thread the-other\n", said)


@pytest.mark.parametrize(
    ("name", "body", "words"),
    [
        ("never_comes_back_from_c", "def test():\n    sum(itertools.repeat(0))", r"Timeout \(.*\)!\nThread"),
        ("leaves_a_thread", "async def test():\n    await asyncio.to_thread(threading.Event().wait)", "over their limit: asyncio_0"),
        (
            "leaves_its_own_thread",
            "def test():\n    threading.Thread(target=threading.Event().wait, name='left').start()\n    queue.Queue().get()",
            r"1 failed, 1 passed(?s:.*)over their limit: left",
        ),
    ],
)
def test_what_nothing_can_interrupt_ends_the_run_with_the_stacks_of_all_threads(tmp_path: Path, name: str, body: str, words: str) -> None:
    code, said = run(tmp_path, ("healthy", HEALTHY), (name, body))
    assert code == 1, said
    assert re.search(words, said)
