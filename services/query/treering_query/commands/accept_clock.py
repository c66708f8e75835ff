"""`python -m treering_query.commands.accept_clock DIR`: tells the store of a data directory that the clock of this machine is right."""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from treering_query.limits import MAX_TIME_UNIX_NANO
from treering_query.retention.clock_order import write_clock_order
from treering_query.sealed.inventory import CATALOG_FILE
from treering_runtime.commands import write
from treering_runtime.errors import StartError


def answers(arguments: Sequence[str]) -> Iterator[dict[str, object]]:
    """The directory, and the time that is right.

    Raises:
        StartError: There is no store, or the clock shows a time that no record can have.
        OSError: The order cannot be written.
    """
    parser = argparse.ArgumentParser("treering_query.commands.accept_clock")
    parser.add_argument("directory", type=Path)
    given = parser.parse_args(arguments).directory
    directory = next((path for path in (given, given / "query", given / "query" / "query") if (path / CATALOG_FILE).is_file()), None)
    if not directory:
        raise StartError(f"{given} holds no store; give the data directory of `treering up`, or query's own: <data>/query")
    if not 0 < (now := time.time_ns()) <= MAX_TIME_UNIX_NANO:
        raise StartError("the clock of this machine shows a time before 1970 or after 2262-04-11, which no record can have; set it right")
    yield {"directory": str(directory), "time_unix_nano": write_clock_order(directory, now).time_unix_nano}


def main(arguments: Sequence[str]) -> int:
    """Runs the program; returns its exit code."""
    return write(answers(arguments), user="run this as the user that the service runs as")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
