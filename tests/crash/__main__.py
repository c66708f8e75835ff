"""`make crash`: kill -9 of services at random moments, many times; exit code 1 if a record is lost or repeated, or a pattern missing."""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.crash.run import run


def main() -> int:
    """Runs it, keeps the directory when something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="treering-crash-"))
    started = time.monotonic()
    try:
        found = run(directory, arguments.cycles, arguments.seed, lambda line: print(line, file=sys.stderr, flush=True))
    except BaseException:
        print(f"stopped; data, logs and journal are in {directory}", file=sys.stderr)
        raise
    print(f"{found}; seed {arguments.seed}, {time.monotonic() - started:.0f} s")
    if found.good:
        shutil.rmtree(directory)
        return 0
    print("\n".join([*found.examples, f"data, logs and journal are in {directory}"]))
    return 1


if __name__ == "__main__":
    sys.exit(main())
