"""Questions to a full store, beside bare DuckDB on the same files: `python bench/query.py [--records N] [--logs DIR] [--json FILE]`.

The store is made in a directory of its own (`query_store`), or taken from `--store DIR` where an earlier run left it. Then the real service
runs on it, and each question is asked through its rpc and, in turn, of DuckDB in this process, with as many threads and nothing around it:
both see the same files in the same minute. Every question is asked once before the clock runs. Medians.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import duckdb
import query_store as store
from processes import query_running
from report import Figure, finish, of_runs

from treering import Client
from treering.channels import Endpoints
from treering.selection import log_filter

HOUR_NANOS = 3_600 * 10**9
NEWEST = 100
_FACETS = ("service", "severity", "environment")


@dataclass(frozen=True)
class Question:
    """One question, and what is the same for bare DuckDB.

    Args:
        name: What is asked.
        rpc: Asks the service.
        sql: Asks DuckDB, with `{logs}` for the files; empty where nothing is comparable.
        promises: Of the figure.
        beyond_bare: The figure is what the rpc takes longer than DuckDB.
    """

    name: str
    rpc: Callable[[Client], object]
    sql: str = ""
    promises: dict[str, float] = field(default_factory=dict)
    beyond_bare: bool = False


def questions(records: int, service: str, words: str) -> list[Question]:
    """What is asked; `service` and `words` occur in the store."""
    hour = store.FIRST_TIME + store.WEEK_NANOS // 2
    within = f"time >= make_timestamp_ns({hour}) and time < make_timestamp_ns({hour + HOUR_NANOS})"
    middle = records // 2
    grouped = "select service, severity, count(*) from {logs} %s group by all"
    counted = f"select count(*) from logs where service = '{service}'"
    return [
        Question(
            "by service and severity, all",
            lambda client: client.aggregate_logs(by=["service", "severity"]),
            grouped % "",
            {"at_most": 150, "ratio_at_most": 1.3},
        ),
        Question(
            "by service and severity, one hour of the week",
            lambda client: client.aggregate_logs(by=["service", "severity"], filter=log_filter(since=hour, until=hour + HOUR_NANOS)),
            grouped % f"where {within}",
            {"at_most": 40},
        ),
        Question(
            "histogram by severity, all, an hour a bucket",
            lambda client: client.aggregate_logs(by=["severity"], bucket_s=3600),
            "select time_bucket(interval 1 hour, time) as b, severity, count(*) from {logs} group by all",
        ),
        Question(
            f"contains, all messages ({words!r}, any case)",
            lambda client: client.aggregate_logs(filter=log_filter(contains=words)),
            f"select count(*) from {{logs}} where message ilike '%{words}%'",
            {"ratio_at_most": 1.3},
        ),
        Question(
            f"newest {NEWEST} of a service",
            lambda client: next(client.tail_logs(backlog=NEWEST, filter=log_filter(services=[service]))),
            f"select * from {{logs}} where service = '{service}' order by time desc limit {NEWEST}",
            {"at_most": 40},
        ),
        Question("context of an offset", lambda client: client.get_log_context(middle, log_id=store.LOG_ID), "", {"at_most": 30}),
        Question(f"list: newest {NEWEST} of all", lambda client: client.list_logs(page_size=NEWEST)),
        Question(
            f"list: newest {NEWEST} that contain {words!r}",
            lambda client: client.list_logs(page_size=NEWEST, filter=log_filter(contains=words), max_message_bytes=4_096),
        ),
        Question("fields, all", lambda client: client.list_fields()),
        Question("values of service, severity and environment, all", lambda client: client.list_field_values(_FACETS)),
        Question("sql: select 1", lambda client: client.sql("select 1"), "", {"at_most": 80}),
        Question(
            "sql: count of a service, beyond bare",
            lambda client: client.sql(counted),
            counted.replace("from logs", "from {logs}"),
            {"at_most": 80},
            beyond_bare=True,
        ),
    ]


def measure(question: Question, client: Client, files: Sequence[Path], threads: int, rounds: int) -> Figure:
    """Asks both in turn; milliseconds."""
    names = ", ".join(f"'{file}'" for file in files)
    sql = question.sql.format(logs=f"read_parquet([{names}])")
    with duckdb.connect(config={"threads": threads}) as bare:
        rpc_ms, bare_ms = [], []
        for _ in range(rounds + 1):
            rpc_ms.append(_milliseconds(lambda: question.rpc(client)))
            if sql:
                bare_ms.append(_milliseconds(lambda: bare.execute(sql).fetchall()))
    rpc_ms, bare_ms = rpc_ms[1:], bare_ms[1:]
    if question.beyond_bare:
        rpc_ms, bare_ms = [rpc - own for rpc, own in zip(rpc_ms, bare_ms, strict=True)], []
    return of_runs(question.name, "ms", rpc_ms, bare_ms, **question.promises)


def _milliseconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000


def size_figure(filled: store.Filled, *, promised: bool) -> Figure:
    """JSON lines that came in over sealed bytes."""
    ratio = filled.json_bytes / filled.sealed_bytes
    return Figure("JSON lines that came in / sealed bytes", ratio, "x", at_least=12 if promised else None)


def make_store(options: argparse.Namespace, directory: Path) -> store.Filled:
    """The store of the options in a new directory."""
    pool = store.folder_pool(options.logs) if options.logs else store.fleet_pool(min(options.records, 200_000), options.attributes)
    directory.mkdir(parents=True, exist_ok=True)
    return store.fill(directory, pool, options.records, options.lot)


def ask(options: argparse.Namespace, directory: Path) -> list[Figure]:
    """The figures of a store."""
    files = sorted((directory / "segments").glob("*.parquet"))
    names = [str(file) for file in files]
    with duckdb.connect() as bare:
        service, message = bare.execute(
            "select service, any_value(message) from read_parquet($1) group by 1 order by count(*) desc limit 1", [names]
        ).fetchall()[0]
    words = max(message.split(), key=lambda word: word.isalpha() and len(word))
    threads = str(options.threads)
    running = query_running(directory, query_threads=threads, sql_threads=threads)
    with running as (address, _), Client(Endpoints(query=address), timeout=600) as client:
        asked = questions(options.records, service, words)
        return [measure(question, client, files, options.threads, options.rounds) for question in asked]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=10_000_000, help="records in the store")
    parser.add_argument("--attributes", type=int, choices=(0, 3), default=0, help="attributes of each record")
    parser.add_argument("--lot", type=int, default=500_000, help="records of a segment: the service's own hot_max_rows")
    parser.add_argument("--logs", type=Path, help="repeat the *.jsonl files of this folder instead of drawing records")
    parser.add_argument("--store", type=Path, help="where the store is, or is to be made and kept")
    parser.add_argument("--threads", type=int, default=2, help="of the service and of bare DuckDB")
    parser.add_argument("--rounds", type=int, default=7, help="how often each question is asked")
    parser.add_argument("--size-only", action="store_true", help="measure the stored size alone")
    parser.add_argument("--json", type=Path, help="where to write the figures as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = options.store or Path(temporary)
        load: dict[str, object] = {name: getattr(options, name) for name in ("records", "attributes", "lot", "threads", "rounds")}
        figures = []
        if not (directory / "segments").exists():
            filled = make_store(options, directory)
            load |= asdict(filled)
            figures.append(size_figure(filled, promised=options.logs is not None))
        if not options.size_only:
            figures += ask(options, directory)
    finish("query", load, figures, options.json)


if __name__ == "__main__":
    main()
