"""Meaning inside SQL over a full store: `python bench/meaning.py [--records N] [--patterns N] [--store DIR] [--json FILE]`.

The store is that of `search_store.py`. Its vectors are random but for one pattern in twenty, which gets the vector of the text that is
asked about, so that `about` selects these. Each question goes through its rpc; the first time of each only warms. Medians.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import search_store
from processes import embed_running, inner_of, query_running
from report import Figure, finish

from treering import AdminClient, Client, InnerEndpoints
from treering.channels import Endpoints
from treering.selection import log_filter
from treering.v1.log_pb2 import LogRecord
from treering_embed.application import REGISTRY_FILE
from treering_embed.encoder import unit
from treering_embed.index import PatternPoint
from treering_embed.index.opening import open_edge
from treering_embed.limits import LATE_DIMENSION
from treering_embed.registry.ledgers import CurrentLedger
from treering_embed.registry.registry import Registry
from treering_runtime.patterns import find_patterns

TEXT = "the disk is failing"
ONE_IN = 20
_TOKENS = 8

Ask = Callable[[Client], object]


def questions() -> dict[str, tuple[Ask, float | None]]:
    """What is asked, with how long it may take, milliseconds, by name."""
    about, other = f"about(pattern_id, '{TEXT}')", "about(pattern_id, 'payment timed out')"
    meaning = f"meaning(pattern_id, '{TEXT}')"

    def sql(statement: str) -> Ask:
        return lambda client: client.sql(statement)

    return {
        "sql: select 1": (sql("select 1"), None),
        "sql: about, by service": (sql(f"select service, count(*) from logs where {about} group by all"), 200),
        "sql: about as a filter of a count, by service": (sql(f"select service, count(*) filter ({about}) from logs group by all"), None),
        "sql: grouped by two texts": (sql(f"select {about} a, {other} b, count(*) from logs group by all"), None),
        "sql: mean of meaning, by service": (sql(f"select service, avg({meaning}) from logs group by all"), None),
        "sql: patterns by meaning": (sql(f"select text, {meaning} m from patterns order by m desc limit 20"), None),
        "aggregate: about, by service": (lambda client: client.aggregate_logs(by=["service"], filter=log_filter(about=TEXT)), None),
        "aggregate: by about and service": (lambda client: client.aggregate_logs(by=["service", f"about:{TEXT}"]), None),
    }


def scores(admin: AdminClient) -> dict[str, Callable[[], object]]:
    """What query asks embed for, by name."""
    texts = [f"{TEXT} {number}" for number in range(16)]
    return {
        "scores of one text": lambda: list(admin.score_patterns([TEXT])),
        "scores of sixteen texts": lambda: list(admin.score_patterns(texts)),
    }


def plant(store: Path, distinct: Sequence[LogRecord]) -> None:
    """Gives one in so many of the patterns the vector of the text, in the directory of an embed service that does not run."""
    directory, records = store / "embed", distinct[::ONE_IN]
    with embed_running(directory) as (address, _), Client(Endpoints(embed=address)) as client:
        vector = np.array(client.embed_texts([TEXT]).embeddings[0].values, np.float32)
    registry = Registry(directory / REGISTRY_FILE)
    note = CurrentLedger(registry.db).note()
    assert note is not None
    index = open_edge(directory / "index", note.name, len(vector))
    tokens = unit(np.random.default_rng(1).standard_normal((_TOKENS, LATE_DIMENSION), np.float32))
    services = pa.array([record.service for record in records])
    keys = find_patterns(services, pa.array([record.message for record in records])).pattern_ids.to_pylist()
    index.upsert([PatternPoint(key, service, vector, tokens) for key, service in zip(keys, services.to_pylist(), strict=True)])
    index.flush()
    index.close()
    registry.close()


def measure(name: str, ask: Callable[[], object], at_most: float | None, rounds: int) -> Figure:
    """Asks; milliseconds."""
    runs = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        ask()
        runs.append((time.perf_counter() - started) * 1000)
    return Figure(name, median(runs[1:]), "ms", at_most=at_most, runs=tuple(runs[1:]))


def ask_all(options: argparse.Namespace, directory: Path) -> list[Figure]:
    """The figures of a store."""
    threads = str(options.threads)
    query = {"query_threads": threads, "sql_threads": threads}
    with (
        embed_running(directory / "embed") as (embed, _),
        query_running(directory / "query", **query, embed_address=inner_of(directory / "embed")) as (address, _),
        Client(Endpoints(query=address, embed=embed), timeout=600) as client,
        AdminClient(InnerEndpoints(embed=inner_of(directory / "embed")), timeout=600) as admin,
    ):
        found = client.sql(f"select count(*) filter (about(pattern_id, '{TEXT}')) / count(*) as share from logs").rows()[0]
        figures = [Figure("records that are about the text", 100 * found["share"], "%")]
        figures += [measure(name, partial(ask, client), at_most, options.rounds) for name, (ask, at_most) in questions().items()]
        return figures + [measure(name, ask, None, options.rounds) for name, ask in scores(admin).items()]


def main() -> None:
    """Parses the command line, measures, prints."""
    options = search_store.arguments(__doc__, rounds=11).parse_args()
    with search_store.standing(options, plant) as (directory, load):
        figures = ask_all(options, directory)
    finish("meaning", load, figures, options.json)


if __name__ == "__main__":
    main()
