"""`python -m treering_ingest.commands.wal inspect|verify|cat DIR`: a look at a log's directory, which only reads."""

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from treering.v1.batch_pb2 import LogBatch
from treering.v1.log_pb2 import LogRecord
from treering_ingest.wal import CorruptLogError, Frame
from treering_ingest.wal.inspect import LogReport, cat, inspect, verify
from treering_ingest.wal.manifest import MANIFEST
from treering_runtime.commands import write
from treering_runtime.errors import StartError

_LOOKS = {"inspect": inspect, "verify": verify}
Answers = Iterator[dict[str, Any]]


def answers(arguments: Sequence[str]) -> Answers:
    """One report of `inspect` or `verify`; of `cat` each record, and each run of offsets that is missing between two.

    Raises:
        StartError: There is no log.
        CorruptLogError: The records of `cat` end here, because the log is damaged.
        OSError: The directory or a file cannot be read.
    """
    parser = argparse.ArgumentParser("treering_ingest.commands.wal")
    parser.add_argument("look", choices=[*_LOOKS, "cat"])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--from", type=int, default=0, dest="start_offset")
    parser.add_argument("--limit", type=int, default=0)
    given = parser.parse_args(arguments)
    directory = _log_directory(given.directory)
    if given.look == "cat":
        yield from _read(directory, given.start_offset, given.limit or math.inf)
    else:
        yield _as_json(_LOOKS[given.look](directory))


def _log_directory(given: Path) -> Path:
    """The directory itself, or the log below a data directory."""
    for path in (given, given / "wal", given / "ingest" / "wal"):
        if (path / MANIFEST).is_file() or any(path.glob("*.wal")):
            return path
    raise StartError(f"{given} holds no log; give the directory that has a file {MANIFEST}: <data>/ingest/wal")


def _as_json(report: LogReport) -> dict[str, Any]:
    derived = {"start_offset": report.start_offset, "end_offset": report.end_offset, "is_sound": report.is_sound}
    return {**asdict(report), **derived}


def _read(directory: Path, start_offset: int, limit: float) -> Answers:
    end: int | None = None
    count = 0
    for frame in cat(directory, start_offset):
        if end is not None and frame.first_offset > end:
            yield {"first_missing_offset": end, "end_missing_offset": frame.first_offset}
        end = frame.end_offset
        for record in _records(frame, start_offset):
            yield record
            count += 1
            if count >= limit:
                return


def _records(frame: Frame, start_offset: int) -> Answers:
    place = {
        "arrival_time_unix_nano": frame.arrival_time_unix_nano,
        "producer_id": frame.producer_id.decode(),
        "sequence": frame.sequence,
    }
    batch = LogBatch.FromString(frame.payload)
    resource = dict(batch.resource)
    for offset, record in enumerate(batch.records, frame.first_offset):
        if offset >= start_offset:
            yield {"offset": offset, **place, **_fields(record, resource)}


def _fields(record: LogRecord, resource: dict[str, str]) -> dict[str, Any]:
    return {
        "time_unix_nano": record.time_unix_nano,
        "severity": record.severity,
        "service": record.service,
        "environment": record.environment,
        "message": record.message,
        # Both, as whoever reads the store sees it: the record's own win.
        "attributes": dict(sorted({**resource, **record.attributes}.items())),
        "resource": dict(sorted(resource.items())),
        "trace_id": record.trace_id.hex(),
        "span_id": record.span_id.hex(),
    }


def main(arguments: Sequence[str]) -> int:
    """Runs the program; returns its exit code."""
    return write(answers(arguments), user="read it as the user that ingest runs as", refusals=(StartError, CorruptLogError))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
