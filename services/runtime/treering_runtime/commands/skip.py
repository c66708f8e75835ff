"""`python -m treering_runtime.commands.skip DIR LOG_ID FIRST_OFFSET END_OFFSET`: makes a hole in the data directory of a sink."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from treering_runtime.commands import write
from treering_runtime.errors import StartError
from treering_runtime.holes import Hole, add_hole

_SINK_FILES = ("logs.duckdb", "registry.sqlite")


def answers(arguments: Sequence[str]) -> Iterator[dict[str, object]]:
    """The hole, once it is durable.

    Raises:
        StartError: The arguments name no hole, the directory is none of a sink, or its file of holes is damaged.
    """
    parser = argparse.ArgumentParser("treering_runtime.commands.skip")
    parser.add_argument("directory", type=Path)
    parser.add_argument("log_id")
    parser.add_argument("first_offset", type=int)
    parser.add_argument("end_offset", type=int)
    given = parser.parse_args(arguments)
    hole = _hole(given.log_id, given.first_offset, given.end_offset)
    if not any((given.directory / file).is_file() for file in _SINK_FILES):
        raise StartError(f"{given.directory} is no data directory of query or embed; name <data>/query or <data>/embed")
    add_hole(given.directory, hole)
    count = hole.end_offset - hole.first_offset
    yield {"log_id": given.log_id, "first_offset": hole.first_offset, "end_offset": hole.end_offset, "record_count": count}


def _hole(log_id: str, first_offset: int, end_offset: int) -> Hole:
    if not (log_id.isascii() and log_id.isdecimal() and int(log_id) < 2**64):
        raise StartError(f"invalid log id {log_id!r}; use the number that the sink's error names")
    if not 0 <= first_offset < end_offset:
        raise StartError(f"END_OFFSET {end_offset} must be above FIRST_OFFSET {first_offset}; both are in the sink's error")
    return Hole(int(log_id), first_offset, end_offset)


def main(arguments: Sequence[str]) -> int:
    """Runs the program; returns its exit code."""
    return write(answers(arguments), user="run this as the user that the service runs as")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
