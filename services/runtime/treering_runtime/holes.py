"""Holes: ranges of a log that a sink does without, because an operator decided so.

A sink that has part of a log never goes on behind records that the log does not have any more. `treering store skip` writes the hole into
the file `holes.json` of the sink's data directory: whoever may write there may decide that. The file is the order and the record of it:
the sink reads it whenever a delivery begins with a gap, and counts the holes in its progress.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from treering_runtime.data_dir import write_atomically
from treering_runtime.errors import StartError

HOLES_FILE = "holes.json"


class Hole(NamedTuple):
    """Offsets of a log that a sink never gets."""

    log_id: int
    first_offset: int
    end_offset: int


def read_holes(directory: Path) -> list[Hole]:
    """All holes of a sink's data directory, in the order in which they were made.

    Raises:
        StartError: The file is damaged.
    """
    file = directory / HOLES_FILE
    if not file.exists():
        return []
    try:
        return [Hole(int(each["log_id"], 16), int(each["first_offset"]), int(each["end_offset"])) for each in json.loads(file.read_text())]
    except (ValueError, KeyError, TypeError):
        raise StartError(f"{file} is damaged; restore it: it says which records were left out on purpose") from None


def add_hole(directory: Path, hole: Hole) -> None:
    """Makes a hole, durably. One that is there already changes nothing."""
    holes = read_holes(directory)
    if hole in holes:
        return
    listed = [{"log_id": f"{log_id:016x}", "first_offset": first, "end_offset": end} for log_id, first, end in (*holes, hole)]
    write_atomically(directory / HOLES_FILE, json.dumps(listed, indent=1).encode() + b"\n")


def skipped_count(holes: Iterable[Hole], log_id: int, below: int) -> int:
    """How many records of a log below an offset are in holes."""
    return sum(min(hole.end_offset, below) - hole.first_offset for hole in holes if hole.log_id == log_id and hole.first_offset < below)
