"""Takes one safeguard away at a time, in a copy of the tree, and expects a test to notice.

python tools/mutants.py            all of them
python tools/mutants.py NAME...    some; `--list` names them

A mutant is one small edit. Its tests pass without it (that is checked first) and must fail with it. An edit whose place is gone from the
source is an error, so that a mutant cannot fade away silently.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from safeguards import MUTANTS
from safeguards.mutant import Mutant

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("sdk", "cli", "services", "tests", "docs", "protos", "pyproject.toml")
PATHS = ("sdk", "cli", "services/formats", "services/runtime", "services/ingest", "services/embed", "services/query")
PATIENCE_S = 300
"""For the tests of one mutant; those of all together, which run first, may take ten times as long."""


def copied() -> Path:
    """A copy of what the tests need."""
    target = Path(tempfile.mkdtemp(prefix="mutants-"))
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target / name)
    return target


def run_tests(tree: Path, tests: tuple[str, ...], patience_s: float = PATIENCE_S) -> tuple[int, str]:
    """The exit code of pytest in a tree (1 = a test failed), and the end of what it said."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(str(tree / path) for path in PATHS),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HUB_OFFLINE": "1",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider", *tests]
    ended = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=patience_s, check=False)
    return ended.returncode, "\n".join(ended.stdout.splitlines()[-15:] or ended.stderr.splitlines()[-15:])


def applied(tree: Path, mutant: Mutant) -> str:
    """Makes the edit and returns the text before it.

    Raises:
        LookupError: Its place is gone, or is there more than once.
    """
    path = tree / mutant.file
    text = path.read_text()
    if text.count(mutant.anchor) != 1:
        raise LookupError(f"{mutant.name}: its text stands {text.count(mutant.anchor)} times in {mutant.file}; renew the mutant")
    path.write_text(text.replace(mutant.anchor, mutant.replacement))
    return text


def verdict(tree: Path, mutant: Mutant) -> str:
    """What became of a mutant: caught, SURVIVED, or what is wrong with it."""
    try:
        before = applied(tree, mutant)
    except LookupError as error:
        return f"ERROR {error}"
    try:
        code, said = run_tests(tree, mutant.tests)
    except subprocess.TimeoutExpired:
        return f"caught: its tests did not end within {PATIENCE_S} s"
    finally:
        (tree / mutant.file).write_text(before)
    if code == 1:
        failed = next((line.split(" - ")[0] for line in said.splitlines() if line.startswith("FAILED")), "a test failed")
        return f"caught by {failed.removeprefix('FAILED ')}"
    return "SURVIVED" if code == 0 else f"ERROR pytest ended with {code}:\n{said}"


def chosen() -> list[Mutant]:
    """The mutants that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(mutant.name for mutant in MUTANTS))
        sys.exit(0)
    unknown = set(arguments.names) - {mutant.name for mutant in MUTANTS}
    if unknown:
        parser.error(f"no such mutant: {', '.join(sorted(unknown))}")
    return [mutant for mutant in MUTANTS if not arguments.names or mutant.name in arguments.names]


def main() -> int:
    """Prints a table; the exit code is 1 unless every mutant was caught."""
    mutants, tree = chosen(), copied()
    try:
        code, said = run_tests(tree, tuple(dict.fromkeys(test for mutant in mutants for test in mutant.tests)), 10 * PATIENCE_S)
        if code != 0:
            print(f"the tests do not pass before anything is taken away:\n{said}", file=sys.stderr)
            return 1
        caught = 0
        for mutant in mutants:
            started = time.monotonic()
            result = verdict(tree, mutant)
            caught += result.startswith("caught")
            print(f"{mutant.name:<38} {time.monotonic() - started:5.1f} s  {result}", flush=True)
        print(f"{caught} of {len(mutants)} caught")
        return 0 if caught == len(mutants) else 1
    finally:
        shutil.rmtree(tree)


if __name__ == "__main__":
    sys.exit(main())
