"""Words of a text: what stands between other characters."""

from unicodedata import category

from treering_query.reading.filters.literals import as_it_is, in_either_case

_OTHERS = frozenset("PSZC")
"""Unicode's categories of what stands between words: punctuation, symbols, separators, control characters."""

_UNASSIGNED = "Cn"
"""A letter of a later version of Unicode, for all that is known; RE2 does not have it among the control characters either."""

_BETWEEN = r"[\p{P}\p{S}\p{Z}\p{C}]"
"""One character that is not of a word, as RE2 says it. As what is neither letter, mark nor digit it would take six times as long to
compile, 20 ms a statement."""


def words(text: str) -> list[str]:
    """The words of a text, in their order."""
    return "".join(letter if _is_of_a_word(category(letter)) else " " for letter in text).split()


def _is_of_a_word(kind: str) -> bool:
    return kind[0] not in _OTHERS or kind == _UNASSIGNED


def one_after_the_other(parts: list[str], *, either_case: bool) -> str:
    """The expression of RE2 for a text that has these words one after the other, with nothing but other characters between two of them.

    For `either_case` they are ASCII.
    """
    written = map(in_either_case if either_case else as_it_is, parts)
    return f"(?:^|{_BETWEEN}){f'{_BETWEEN}+'.join(written)}(?:{_BETWEEN}|$)"


def lowered(text: str) -> str:
    """A text as the database lowers it: character by character."""
    # Python's own `lower` looks at what stands around a letter (a final sigma), and makes two characters of one letter.
    return "".join(letter.lower()[0] for letter in text)
