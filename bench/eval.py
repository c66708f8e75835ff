"""Measures search quality of the product itself: processes, RPCs, real model, over a folder of JSON lines and judged searches.

    python bench/eval.py LOGS QUERIES [--json FILE] [--document source,template_id]

LOGS       a folder of *.jsonl; every record must name its document in attributes (by default `source` and `template_id`)
QUERIES    JSON lines: {"qid", "query", "kind", "relevant": {"Source:Template": 1 or 2}, "overlap"?: "none" or "some"}

Prints nDCG@10, MRR@10 and recall@10 by kind for each mode, beside a plain BM25 over the same lines, with latency at the client; then,
where the lines say which group they belong to (`template_id`), how well grouping finds these groups, as `grouping.py` measures it.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from grouping import mean as grouping_mean
from grouping import measure as grouping_of
from grouping import read_samples
from ranking import CUT, Bm25, Judged, distinct, mean_by_kind, quality
from stack import Stack, conditions, running

from treering import Client
from treering.selection import log_filter
from treering.v1.query_pb2 import SearchLogsResponse

Mode = Literal["hybrid", "semantic", "keyword"]
MODES: tuple[Mode, ...] = ("hybrid", "semantic", "keyword")
PAGE = 50
"""Results asked for: several patterns may belong to one judged document."""


def read_lines(file: Path) -> list[dict[str, object]]:
    """The objects of a JSON lines file."""
    return [json.loads(line) for line in file.read_text().splitlines() if line.strip()]


def documents(response: SearchLogsResponse, names: Sequence[str]) -> list[str]:
    """The judged documents of an answer, best first, each once."""
    records = (result.records[0].record for result in response.results if result.records)
    return distinct(":".join(record.attributes[name] for name in names) for record in records)[:CUT]


def search_all(client: Client, searches: Iterable[Judged], mode: Mode, names: Sequence[str]) -> dict[str, object]:
    """Runs every search in one mode; its quality and its latency at the client."""
    rows, seconds = [], []
    for judged in searches:
        started = time.perf_counter()
        response = client.search_logs(judged.text, mode=mode, page_size=PAGE, samples_per_pattern=1)
        seconds.append(time.perf_counter() - started)
        rows.append((judged, quality(documents(response, names), judged.grades)))
    seconds.sort()
    latency = {"p50_ms": round(statistics.median(seconds) * 1e3, 1), "p95_ms": round(seconds[int(len(seconds) * 0.95)] * 1e3, 1)}
    return {"quality": mean_by_kind(rows), "latency": latency}


def weak_marks(client: Client, lines: Sequence[dict[str, object]], searches: Iterable[Judged], names: Sequence[str]) -> dict[str, int]:
    """How far `weak` tells questions that have an answer from those that have none.

    Every search in words is asked twice: of the logs of all other systems (the first part of a document's name), where nothing answers it,
    and of everything, where something does.
    """
    systems: dict[str, set[str]] = {}
    for line in lines:
        systems.setdefault(str(line.get(names[0], "")), set()).add(str(line.get("service", "")))
    marks = dict.fromkeys(("searches", "results", "results_not_weak", "all_weak", "answered", "answer_not_weak"), 0)
    for judged in searches:
        own = {document.split(":")[0] for document in judged.grades}
        elsewhere = set().union(*(services for system, services in systems.items() if system not in own))
        elsewhere = elsewhere.difference(*(systems[system] for system in own if system in systems))
        if not elsewhere or "keyword" in judged.kinds:
            continue
        strangers = client.search_logs(judged.text, filter=log_filter(services=sorted(elsewhere)), samples_per_pattern=0).results
        found = client.search_logs(judged.text, samples_per_pattern=1).results
        right = [result for result in found if documents(SearchLogsResponse(results=[result]), names)[0] in judged.grades]
        marks["searches"] += 1
        marks["results"] += len(strangers)
        marks["results_not_weak"] += sum(not result.weak for result in strangers)
        marks["all_weak"] += all(result.weak for result in strangers)
        marks["answered"] += bool(right)
        marks["answer_not_weak"] += any(not result.weak for result in right)
    return marks


def baseline(lines: Sequence[dict[str, object]], searches: Iterable[Judged], names: Sequence[str]) -> dict[str, object]:
    """The same searches answered by BM25 over the lines."""
    index = Bm25([f"{line.get('service', '')} {line.get('message', '')}" for line in lines])
    name = [":".join(str(line.get(part, "")) for part in names) for line in lines]
    rows = [(judged, quality(distinct(name[hit] for hit in index.rank(judged.text))[:CUT], judged.grades)) for judged in searches]
    return {"quality": mean_by_kind(rows)}


def measure(stack: Stack, logs: Path, searches: Sequence[Judged], names: Sequence[str]) -> dict[str, object]:
    """Sends the logs, waits until they can be found, and runs everything."""
    files = sorted(logs.glob("*.jsonl"))
    if not files:
        raise SystemExit(f"no *.jsonl file in {logs}")
    started = time.perf_counter()
    stack.command("send", *map(str, files), "--wait", "--json")
    sent = time.perf_counter() - started
    with stack.client() as client:
        client.search_logs(searches[0].text)
        found: dict[str, object] = {mode: search_all(client, searches, mode, names) for mode in MODES}
        lines = [line for file in files for line in read_lines(file)]
        found["weak"] = weak_marks(client, lines, searches, names)
    found |= {"bm25": baseline(lines, searches, names), "grouping": grouping(logs)}
    return {"records": len(lines), "send_and_wait_s": round(sent, 2), **found}


def grouping(logs: Path) -> dict[str, float]:
    """Grouping accuracy of templates, the mean over the files that name true groups; empty when none does."""
    results = {sample.system: grouping_of(sample) for sample in read_samples(logs)}
    return {"systems": len(results), **grouping_mean(results)["templates"]} if results else {}


def table(results: dict[str, object]) -> str:
    """The results for people."""
    out = [f"{'':10} {'kind':18} {'n':>4} {'nDCG@10':>8} {'MRR@10':>8} {'recall@10':>9}"]
    for system in (*MODES, "bm25"):
        block = results[system]
        assert isinstance(block, dict)
        for kind, row in block["quality"].items():
            out.append(f"{system:10} {kind:18} {row['searches']:4} {row['ndcg']:8.3f} {row['mrr']:8.3f} {row['recall']:9.3f}")
        if "latency" in block:
            out.append(f"{system:10} latency at the client: median {block['latency']['p50_ms']} ms, p95 {block['latency']['p95_ms']} ms")
    groups = results["grouping"]
    assert isinstance(groups, dict)
    if groups:
        out.append(f"grouping, mean over {groups['systems']} files: GA {groups['ga']:.3f}, FGA {groups['fga']:.3f}")
    weak = results["weak"]
    assert isinstance(weak, dict)
    if weak["results"]:
        out.append(
            f"weak: of {weak['searches']} questions about other systems {weak['all_weak']} got nothing else, {weak['results_not_weak']} of "
            f"{weak['results']} results were not weak; of {weak['answered']} answered ones {weak['answer_not_weak']} kept a right result"
        )
    return "\n".join(out)


def arguments(description: str | None) -> argparse.Namespace:
    """The command line of a benchmark over logs and judged searches."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", type=Path)
    parser.add_argument("queries", type=Path)
    parser.add_argument("--json", type=Path, help="write everything here as well")
    parser.add_argument("--document", default="source,template_id", help="attributes that name a record's document")
    return parser.parse_args()


def main() -> None:
    """Parses the command line, measures, prints, and writes JSON where asked."""
    options = arguments(__doc__)
    searches = [Judged.parse(line) for line in read_lines(options.queries)]
    with tempfile.TemporaryDirectory() as folder, running(Path(folder) / "data") as stack:
        results = measure(stack, options.logs, searches, options.document.split(","))
    results = {"conditions": conditions(), **results}
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    print(
        f"conditions {json.dumps(results['conditions'])}; {results['records']} records sent and visible in {results['send_and_wait_s']} s"
    )
    print(table(results))


if __name__ == "__main__":
    main()
