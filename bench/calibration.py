"""Measures what `about(pattern_id, text)` selects: how much of it is right, how much is missed, and what it says where nothing is right.

    python bench/calibration.py LOGS QUERIES [--json FILE] [--document source,template_id]

LOGS and QUERIES are those of `eval.py`; the first attribute of `--document` names the system that wrote a record. The real services run on
them. Every text is scored twice: against all patterns, and against the patterns of those systems only that hold nothing relevant to it,
where each pattern that is selected is selected wrongly. A pattern is relevant when one of its records has a relevant document.

Prints a row for each border (0.5 is the one in force), means over all texts: precision (where anything is selected), recall of the
relevant documents, F1 of the two, the share of texts for which something right is selected; and of the texts asked of other systems, the
share for which nothing is selected and the mean number of patterns that are.
"""

import json
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

from eval import arguments, read_lines
from ranking import Judged
from stack import Stack, conditions, running

from treering import Client

BORDERS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
_MOST = 10_000

Documents = Mapping[int, frozenset[str]]
"""The documents of each pattern."""


@dataclass(frozen=True)
class Asked:
    """One judged text with the scores of all patterns, and of the patterns of other systems."""

    judged: Judged
    scores: Mapping[int, float]
    elsewhere: Mapping[int, float]


@dataclass(frozen=True)
class Row:
    """What one border selects, means over texts."""

    border: float
    texts: int
    precision: float
    recall: float
    f1: float
    something_right: float
    silent_elsewhere: float
    wrong_elsewhere: float


def documents_of(client: Client, names: Sequence[str]) -> Documents:
    """Which documents the records of each pattern have."""
    document = " || ':' || ".join(f"attributes['{name}']" for name in names)
    found: dict[int, set[str]] = defaultdict(set)
    for row in client.sql(f"select distinct pattern_id, {document} as document from logs", max_rows=1_000_000).rows():
        found[row["pattern_id"]].add(row["document"])
    return {pattern: frozenset(documents) for pattern, documents in found.items()}


def ask(client: Client, judged: Judged, documents: Documents) -> Asked:
    """Scores one text."""
    systems = {document.split(":")[0] for document in judged.grades}
    others = [pattern for pattern, held in documents.items() if systems.isdisjoint(document.split(":")[0] for document in held)]
    everything = client.search_patterns(judged.text, limit=_MOST).scores
    elsewhere = client.search_patterns(judged.text, limit=_MOST, restrict_to=others).scores
    return Asked(judged, {hit.pattern_id: hit.score for hit in everything}, {hit.pattern_id: hit.score for hit in elsewhere})


def row(asked: Sequence[Asked], documents: Documents, border: float) -> Row:
    """What a border selects."""
    precisions, recalls, silent, wrong = [], [], [], []
    for each in asked:
        selected = [pattern for pattern, score in each.scores.items() if score >= border]
        right = [pattern for pattern in selected if documents.get(pattern, frozenset()) & each.judged.grades.keys()]
        found = frozenset().union(*(documents[pattern] for pattern in right)) & each.judged.grades.keys()
        precisions += [len(right) / len(selected)] if selected else []
        recalls.append(len(found) / len(each.judged.grades))
        wrong.append(sum(score >= border for score in each.elsewhere.values()))
        silent.append(not wrong[-1])
    precision, recall = fmean(precisions or [0.0]), fmean(recalls)
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return Row(border, len(asked), precision, recall, f1, fmean(map(bool, recalls)), fmean(silent), fmean(wrong))


def measure(stack: Stack, logs: Path, searches: Sequence[Judged], names: Sequence[str]) -> dict[str, list[Row]]:
    """The rows of all texts and of each kind."""
    stack.command("send", *map(str, sorted(logs.glob("*.jsonl"))), "--wait", "--json")
    with stack.client(timeout=600) as client:
        documents = documents_of(client, names)
        asked = [ask(client, judged, documents) for judged in searches]
    kinds = sorted({kind for judged in searches for kind in judged.kinds})
    return {kind: [row([each for each in asked if kind in each.judged.kinds], documents, border) for border in BORDERS] for kind in kinds}


def table(results: Mapping[str, Sequence[Row]]) -> str:
    """The results for people."""
    out = ["kind                  texts border precision recall    f1 something-right | elsewhere: silent wrong"]
    for kind, rows in results.items():
        out += [
            f"{kind:22}{each.texts:5}  {each.border:5.1f}  {each.precision:8.2f} {each.recall:6.2f} {each.f1:5.2f}"
            f"  {each.something_right:14.2f} | {each.silent_elsewhere:17.2f} {each.wrong_elsewhere:5.1f}"
            for each in rows
        ]
    return "\n".join(out)


def main() -> None:
    """Parses the command line, measures, prints, and writes JSON where asked."""
    options = arguments(__doc__)
    searches = [Judged.parse(line) for line in read_lines(options.queries)]
    where = conditions()
    with tempfile.TemporaryDirectory() as folder, running(Path(folder) / "data") as stack:
        results = measure(stack, options.logs, searches, options.document.split(","))
    if options.json:
        found = {kind: [asdict(each) for each in rows] for kind, rows in results.items()}
        options.json.write_text(json.dumps({"conditions": where, "rows": found}, indent=1) + "\n")
    print(f"conditions {json.dumps(where)}\n{table(results)}")


if __name__ == "__main__":
    main()
