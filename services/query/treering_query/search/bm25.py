"""BM25 over the texts of patterns, for searches by words.

Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), with k1 = 1.2 and b = 0.75, and the inverse
document frequency ln(1 + (N - n + 0.5) / (n + 0.5)), which is never negative. Plural and tense endings are cut off lightly
(after Harman's "S" stemmer, 1991, with -ing and -ed): logs say "failed" where people say "fails".
"""

import re

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

K1 = 1.2
B = 0.75

_SPLIT_CAMEL = "([a-z])([A-Z])"
_NO_WORD = r"[^\pL\pN]+"
_ENDING = r"(ies|ing|ed|es|s)$"
_STEM = 4
"""Letters that a word keeps at least when its ending is cut."""


class Bm25:
    """An index over some texts; immutable.

    Args:
        texts: The documents. Words are runs of letters and digits; `camelCase` is two.
    """

    def __init__(self, texts: pa.StringArray) -> None:
        # Arrow for all texts at once; Python sees each distinct word once, not each occurrence.
        lists = _words(texts)
        owners = pc.list_parent_indices(lists).to_numpy()
        encoded = lists.flatten().dictionary_encode()
        self._vocabulary = {word: number for number, word in enumerate(encoded.dictionary.to_pylist())}
        self._documents = len(texts)
        lengths = np.bincount(owners, minlength=len(texts))
        # The part of the formula that does not depend on the query; without a word the mean is 0.
        self._norm = K1 * (1 - B + B * lengths / max(lengths.mean() if len(texts) else 0, 1e-9))
        # One number for a word in a document: sorted, each word's documents lie together.
        pairs, counts = np.unique(encoded.indices.to_numpy().astype(np.int64) * max(len(texts), 1) + owners, return_counts=True)
        self._owners, self._counts = pairs % max(len(texts), 1), counts
        # Where each word's part begins; one more for the end of the last.
        self._starts = np.searchsorted(pairs // max(len(texts), 1), np.arange(len(self._vocabulary) + 1))

    def score(self, text: str) -> npt.NDArray[np.float64]:
        """How well each document fits, 0..1: BM25 divided by what a document of mean length with every word of the query once has.

        A word that no document holds counts in the divisor: a query of unknown words fits nothing well.
        """
        scores = np.zeros(self._documents)
        ideal = 0.0
        # A word counts once, however often the query repeats it.
        for word in dict.fromkeys(_words(pa.array([text], pa.string())).flatten().to_pylist()):
            rows, counts = self._postings(word)
            weight = float(np.log(1 + (self._documents - len(rows) + 0.5) / (len(rows) + 0.5)))
            ideal += weight
            scores[rows] += weight * counts * (K1 + 1) / (counts + self._norm[rows])
        return np.minimum(scores / ideal, 1.0) if ideal else scores

    def _postings(self, word: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        number = self._vocabulary.get(word)
        part = slice(0, 0) if number is None else slice(self._starts[number], self._starts[number + 1])
        return self._owners[part], self._counts[part]


def _words(texts: pa.StringArray) -> pa.ListArray:
    spaced = pc.replace_substring_regex(texts, pattern=_SPLIT_CAMEL, replacement=r"\1 \2")
    plain = pc.replace_substring_regex(pc.utf8_lower(spaced), pattern=_NO_WORD, replacement=" ")
    words = pc.split_pattern(plain, " ")
    encoded = words.flatten().dictionary_encode()
    # An empty word, as at the edges of a text, becomes null and is left out below.
    stems = pa.array([_stem(word) or None for word in encoded.dictionary.to_pylist()], pa.string()).take(encoded.indices)
    kept = stems.is_valid()
    owners = pc.list_parent_indices(words).filter(kept).to_numpy()
    # Texts that lost all their words still have a list, of length 0.
    offsets = np.searchsorted(owners, np.arange(len(texts) + 1)).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), stems.filter(kept))


def _stem(word: str) -> str:
    stem = re.sub(_ENDING, "", word)
    # Short words stay: "used" would become "us".
    return stem if len(stem) >= _STEM else word
