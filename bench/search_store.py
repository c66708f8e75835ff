"""A full store for searches: seven days, records drawn by Zipf from so many patterns, and an embed directory with a vector for each.

Made once where `--store` names a place, and kept there; otherwise anew, and gone afterwards.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import prefilled
import query_store
from load.patterns import distinct_records

from treering.v1.log_pb2 import LogRecord

POOL_RECORDS = 500_000
_ZIPF_EXPONENT = 1.1
_LOAD = ("records", "patterns", "lot", "threads", "rounds")


def arguments(description: str | None, *, rounds: int) -> argparse.ArgumentParser:
    """The options of a benchmark on such a store."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=10_000_000, help="records in the store")
    parser.add_argument("--patterns", type=int, default=20_000, help="patterns that they have")
    parser.add_argument("--lot", type=int, default=500_000, help="records of a segment: the service's own hot_max_rows")
    parser.add_argument("--store", type=Path, help="where the store is, or is to be made and kept")
    parser.add_argument("--threads", type=int, default=2, help="of the database in the query service")
    parser.add_argument("--rounds", type=int, default=rounds, help="how often each question is asked")
    parser.add_argument("--json", type=Path, help="where to write the figures as JSON")
    return parser


@contextmanager
def standing(
    options: argparse.Namespace, after: Callable[[Path, list[LogRecord]], None] = lambda *_: None
) -> Iterator[tuple[Path, dict[str, object]]]:
    """The directory of the store, and what was asked for; `after` goes on with a new one, and gets a record of each pattern."""
    with tempfile.TemporaryDirectory() as temporary:
        directory = options.store or Path(temporary)
        load: dict[str, object] = {name: getattr(options, name) for name in _LOAD}
        if not (directory / "query" / "segments").exists():
            distinct = distinct_records(options.patterns)
            load |= asdict(_make(directory, distinct, options.records, options.lot))
            after(directory, distinct)
        yield directory, load


def _make(directory: Path, distinct: Sequence[LogRecord], records: int, lot: int) -> query_store.Filled:
    """Both services' directories, as they would be after `records` records of these patterns."""
    (directory / "query").mkdir(parents=True, exist_ok=True)
    (directory / "embed").mkdir(parents=True, exist_ok=True)
    prefilled.fill(directory / "embed", distinct)
    pool = query_store.pool(_zipf_records(distinct, min(records, POOL_RECORDS)))
    return query_store.fill(directory / "query", pool, records, lot)


def _zipf_records(distinct: Sequence[LogRecord], count: int) -> list[LogRecord]:
    """Each record at least once, the rest by Zipf, mixed; environments and severities as a fleet has them."""
    chance = np.random.default_rng(1)
    weights = 1 / np.arange(1, len(distinct) + 1) ** _ZIPF_EXPONENT
    drawn = chance.choice(len(distinct), max(0, count - len(distinct)), p=weights / weights.sum())
    order = chance.permutation(np.concatenate([np.arange(len(distinct)), drawn]))
    environments = chance.choice(["prod", "staging", "dev"], len(order), p=[0.7, 0.2, 0.1])
    return [_in_environment(distinct[row], str(environment)) for row, environment in zip(order, environments, strict=True)]


def _in_environment(record: LogRecord, environment: str) -> LogRecord:
    copy = LogRecord()
    copy.CopyFrom(record)
    copy.environment = environment
    return copy
