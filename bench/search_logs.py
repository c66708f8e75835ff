"""SearchLogs over a full store: `python bench/search_logs.py [--records N] [--patterns N] [--store DIR] [--json FILE]`.

The store is that of `search_store.py`; its vectors are random, so the order of results says nothing here; what it costs does. Both services
run on it, and each search goes through its rpc, with another text every time, after some that only warm. Medians and the 95th percentile.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import query_store as store
import search_store
from processes import embed_running, inner_of, query_running
from report import Figure, finish, of_runs

from treering import Client
from treering.channels import Endpoints
from treering.selection import log_filter
from treering.v1.query_pb2 import SearchLogsResponse

DAY_NANOS = 86_400 * 10**9
_WARM = 3

TEXTS = (
    "the payment provider does not answer in time",
    "disk is about to fail on the database host",
    "somebody tried to log in with a wrong password many times",
    "a certificate has expired and nobody noticed it",
    "the queue is full and messages are thrown away",
    "memory ran out and the process was killed by the system",
    "replication is far behind the leader of the cluster",
    "a client sent a request that could not be understood",
    "the cache was empty after the restart and everything was slow",
    "a deployment was rolled back because checks did not pass",
    "connections to the other data center break again and again",
    "a customer could not finish the order because of stock",
)
"""Questions in words, none of them short enough to be looked for in messages."""

PIECES = ("connection reset", "timed out", "not found", "retry", "checkout failed", "denied", "slow query", "evicted", "rollback", "quota")
"""Short pieces of messages, which are looked for in every message."""


@dataclass(frozen=True)
class Question:
    """One kind of search: asked with each of its texts in turn."""

    name: str
    ask: Callable[[Client, str], SearchLogsResponse]
    texts: Sequence[str]
    at_most: float | None = None


def questions(service: str, rare: Sequence[str]) -> list[Question]:
    """What is asked; `rare` are identifiers of one record each."""
    end = store.FIRST_TIME + store.WEEK_NANOS
    day = log_filter(since=end - 4 * DAY_NANOS, until=end - 3 * DAY_NANOS)
    narrow = log_filter(services=[service], since=end - 4 * DAY_NANOS, until=end - 3 * DAY_NANOS)
    prod = log_filter(environments=["prod"], min_severity="WARN")

    def search(mode: str, **options: object) -> Callable[[Client, str], SearchLogsResponse]:
        return lambda client, text: client.search_logs(text, mode=mode, **options)  # type: ignore[arg-type]

    return [
        Question("semantic, no filter", search("semantic"), TEXTS),
        Question("semantic, one service of one day", search("semantic", filter=narrow), TEXTS, 80),
        Question("semantic, one day", search("semantic", filter=day), TEXTS),
        Question("semantic, environment and severity", search("semantic", filter=prod), TEXTS),
        Question("semantic, flat", search("semantic", flat=True), TEXTS),
        Question("hybrid, words only", search("hybrid"), TEXTS),
        Question("hybrid, reads messages of one day of seven", search("hybrid", filter=day), PIECES, 200),
        Question("hybrid, reads messages as long as it may", search("hybrid"), PIECES, 900),
        Question("hybrid, reads every message", search("hybrid", literal_budget_ms=60_000), PIECES),
        Question("hybrid, an identifier of one record", search("hybrid", literal_budget_ms=60_000), rare, 150),
        Question("hybrid, an identifier of no record", search("hybrid", literal_budget_ms=60_000), NOWHERE),
        Question("keyword, words only", search("keyword"), TEXTS),
    ]


NOWHERE = tuple(f"zq{number:06d}x{number * 7919 % 100_000:05d}" for number in range(10))
"""Identifiers that no record holds."""


def measure(question: Question, client: Client, rounds: int) -> list[Figure]:
    """Asks, and says how long it took and, where messages are read, how often all of them were."""
    asked = [question.texts[number % len(question.texts)] for number in range(rounds + _WARM)]
    milliseconds, complete = [], []
    for text in asked:
        started = time.perf_counter()
        answer = question.ask(client, text)
        milliseconds.append((time.perf_counter() - started) * 1000)
        complete.append(answer.literal_scan.complete if answer.literal_scan.attempted else None)
    runs = milliseconds[_WARM:]
    figures = [of_runs(question.name, "ms", runs, at_most=question.at_most)]
    figures.append(Figure(f"{question.name}: p95", float(np.quantile(runs, 0.95)), "ms"))
    if complete[-1] is not None:
        read = [done for done in complete[_WARM:] if done is not None]
        figures.append(Figure(f"{question.name}: read to the end", 100 * sum(read) / max(len(read), 1), "%"))
    return figures


def rare_identifiers(directory: Path, count: int) -> list[str]:
    """Tokens of letters and digits, each from another record, spread over the whole store."""
    files = [str(file) for file in sorted((directory / "query" / "segments").glob("*.parquet"))]
    sql = """select token from (select regexp_extract(message, '\\b[a-f0-9]*[0-9][a-f0-9]{11,}\\b') as token, "offset" from read_parquet($1)
        where "offset" % 9973 = 5000) where token <> '' order by hash("offset") limit $2"""
    with duckdb.connect() as bare:
        return [token for (token,) in bare.execute(sql, [files, count]).fetchall()]


def ask(options: argparse.Namespace, directory: Path) -> list[Figure]:
    """The figures of a store."""
    with duckdb.connect() as bare:
        files = [str(file) for file in sorted((directory / "query" / "segments").glob("*.parquet"))]
        sql = "select service from read_parquet($1) group by 1 order by count(*) desc limit 1"
        (service,) = bare.execute(sql, [files]).fetchall()[0]
    rare = rare_identifiers(directory, options.rounds + _WARM)
    threads = str(options.threads)
    with (
        embed_running(directory / "embed"),
        query_running(directory / "query", query_threads=threads, embed_address=inner_of(directory / "embed")) as (query, _),
        Client(Endpoints(query=query), timeout=600) as client,
    ):
        asked = [question for question in questions(service, rare) if options.only in question.name]
        return [figure for question in asked for figure in measure(question, client, options.rounds)]


def main() -> None:
    parser = search_store.arguments(__doc__, rounds=21)
    parser.add_argument("--only", default="", help="only the questions whose name holds this")
    options = parser.parse_args()
    with search_store.standing(options) as (directory, load):
        figures = ask(options, directory)
    finish("search", load, figures, options.json)


if __name__ == "__main__":
    main()
