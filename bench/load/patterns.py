"""Records of which each has a pattern of its own: what a new fleet says in its first hour."""

import itertools
import random
from collections.abc import Iterator

import pyarrow as pa

from load.grammar import draw_template
from load.words import DOMAINS
from treering.v1.log_pb2 import LogRecord
from treering_runtime.patterns import find_patterns

_DRAWN_AT_ONCE = 4_096
_GIVE_UP_AFTER = 50
"""Draws in a row without anything new: the grammar has some 400,000 patterns."""


def distinct_records(count: int, seed: int = 1) -> list[LogRecord]:
    """So many records of the fleet, no two of one pattern (by the product's own masks), the same ones for the same seed.

    A longer list begins with the shorter one. Services take turns, so none of them has more than its share.

    Raises:
        ValueError: The grammar does not have so many.
    """
    found: list[LogRecord] = []
    seen: set[int] = set()
    idle = 0
    for drawn in _chunks(seed):
        services = pa.array([record.service for record in drawn])
        ids = find_patterns(services, pa.array([record.message for record in drawn])).pattern_ids.to_pylist()
        before = len(found)
        for pattern_id, record in zip(ids, drawn, strict=True):
            if pattern_id not in seen:
                seen.add(pattern_id)
                found.append(record)
        idle = idle + 1 if len(found) == before else 0
        if len(found) >= count:
            return found[:count]
        if idle == _GIVE_UP_AFTER:
            raise ValueError(f"there are {len(found)} patterns, not {count}")
    raise AssertionError("the records never end")


def _chunks(seed: int) -> Iterator[list[LogRecord]]:
    rng = random.Random(seed)
    turns = itertools.cycle([(domain, service) for domain in DOMAINS for service in domain.services])
    while True:
        templates = [draw_template(rng, *turn) for turn in itertools.islice(turns, _DRAWN_AT_ONCE)]
        yield [
            LogRecord(
                time_unix_nano=1,
                severity=template.severity,  # type: ignore[arg-type]
                service=template.service,
                environment="prod",
                message=template.message(rng),
            )
            for template in templates
        ]
