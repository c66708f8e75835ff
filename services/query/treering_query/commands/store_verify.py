"""`python -m treering_query.commands.store_verify DIR`: the check of a sealed store that no service uses; answers as VerifyStore does."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict

from treering.v1.admin_pb2 import VerifyStoreResponse
from treering_query.answers.verifying import progress_message
from treering_query.sealed.check import CheckProgress, check
from treering_query.sealed.inventory import CATALOG_FILE, inventory_at_rest
from treering_runtime.commands import write
from treering_runtime.holes import Holes


def answers(arguments: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The messages of the check, in the form that protobuf gives them in JSON.

    Raises:
        StartError: A service runs on the directory, or there is no store, or it cannot be read.
        OSError: The directory or a file cannot be read.
    """
    parser = argparse.ArgumentParser("treering_query.commands.store_verify")
    parser.add_argument("directory", type=Path)
    given = parser.parse_args(arguments).directory
    directory = next((path for path in (given, given / "query") if (path / CATALOG_FILE).exists()), given)
    return map(MessageToDict, _messages(directory))


def _messages(directory: Path) -> Iterator[VerifyStoreResponse]:
    inventory, holes = inventory_at_rest(directory), Holes(directory).messages
    segments = inventory.sealed.segments
    total_bytes = sum(segment.size_bytes for segment in segments)
    done = CheckProgress()
    for step in check(inventory):
        done = step
        yield progress_message(step, len(segments), total_bytes)
    last = progress_message(CheckProgress(done.segments, done.records, done.size_bytes), len(segments), total_bytes)
    last.complete = True
    last.holes.extend(holes)
    yield last


def main(arguments: Sequence[str]) -> int:
    """Runs the program; returns its exit code."""
    return write(answers(arguments), user="read it as the user that query runs as")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
