"""How good a ranking is: graded relevance against judged searches, and a plain BM25 to compare with."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

CUT = 10
"""Ranks that count."""


@dataclass(frozen=True)
class Judged:
    """One judged search: the text, its kind (keyword, paraphrase/none, ...), and grades (1 related, 2 exact) by document."""

    qid: str
    text: str
    kinds: tuple[str, ...]
    grades: Mapping[str, int]

    @classmethod
    def parse(cls, row: Mapping[str, object]) -> "Judged":
        """Reads a line of a query file: {"qid", "query", "kind", "relevant": {document: grade}, "overlap"?: "none" | "some"}."""
        kind, overlap = str(row["kind"]), row.get("overlap")
        relevant = row["relevant"]
        assert isinstance(relevant, dict)
        grades = {str(document): int(grade) for document, grade in relevant.items() if int(grade) > 0}
        return cls(str(row["qid"]), str(row["query"]), ("all", kind, *([f"{kind}/{overlap}"] if overlap else [])), grades)


@dataclass(frozen=True)
class Quality:
    """nDCG with gain 2^grade - 1 (Järvelin and Kekäläinen 2002), reciprocal rank of the first relevant, recall; all at `CUT`."""

    ndcg: float
    mrr: float
    recall: float


def quality(ranked: Sequence[str], grades: Mapping[str, int]) -> Quality:
    """Judges one ranking, best first, without repeats."""
    top = ranked[:CUT]
    gain = sum((2 ** grades.get(document, 0) - 1) / math.log2(rank + 2) for rank, document in enumerate(top))
    best = sorted(grades.values(), reverse=True)[:CUT]
    ideal = sum((2**grade - 1) / math.log2(rank + 2) for rank, grade in enumerate(best))
    hits = [rank for rank, document in enumerate(top) if document in grades]
    return Quality(gain / ideal, 1 / (hits[0] + 1) if hits else 0.0, len(hits) / len(grades))


def mean_by_kind(rows: Iterable[tuple[Judged, Quality]]) -> dict[str, dict[str, float]]:
    """Averages over all searches and over each kind."""
    by_kind: dict[str, list[Quality]] = defaultdict(list)
    for judged, found in rows:
        for kind in judged.kinds:
            by_kind[kind].append(found)
    return {kind: _mean(found) for kind, found in sorted(by_kind.items())}


def _mean(found: Sequence[Quality]) -> dict[str, float]:
    count = len(found)
    sums = {name: sum(getattr(one, name) for one in found) / count for name in ("ndcg", "mrr", "recall")}
    return {"searches": count, **{name: round(value, 4) for name, value in sums.items()}}


class Bm25:
    """BM25 (Robertson and Zaragoza 2009; k1 = 1.2, b = 0.75) over lines of text: what a keyword search would find."""

    def __init__(self, texts: Sequence[str]) -> None:
        terms = [Counter(words(text)) for text in texts]
        lengths = [sum(counts.values()) for counts in terms]
        mean = sum(lengths) / max(len(lengths), 1)
        self._norms = [1.2 * (1 - 0.75 + 0.75 * length / mean) for length in lengths]
        self._postings: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for line, counts in enumerate(terms):
            for term, count in counts.items():
                self._postings[term].append((line, count))

    def rank(self, query: str) -> list[int]:
        """Lines that share a word with the query, best first; the earlier line wins a tie."""
        scores: dict[int, float] = defaultdict(float)
        for term in set(words(query)):
            found = self._postings.get(term, [])
            idf = math.log(1 + (len(self._norms) - len(found) + 0.5) / (len(found) + 0.5))
            for line, count in found:
                scores[line] += idf * count * 2.2 / (count + self._norms[line])
        return sorted(scores, key=lambda line: (-scores[line], line))


def words(text: str) -> list[str]:
    """Lower-case words and numbers, identifiers split at case changes and punctuation, plural and tense endings cut off."""
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return [re.sub(r"(ing|ed|es|s)$", "", word) if len(word) > 4 else word for word in re.findall(r"[a-z0-9]+", split.lower())]


def distinct(documents: Iterable[str]) -> list[str]:
    """The documents in order, each once."""
    return list(dict.fromkeys(documents))
