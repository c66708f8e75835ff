"""The pass that joins patterns into templates."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from treering_query.templates.evidence import VALUES_AFTER_LABEL, values_needed
from treering_query.templates.skeletons import shared_skeletons
from treering_runtime.patterns import MASK


@dataclass(frozen=True, slots=True)
class PatternRow:
    """A row of the pattern table: its id and its masked text."""

    id: int
    text: str


@dataclass(frozen=True, slots=True)
class Template:
    """A template: the id of its oldest pattern, its text, and the positions (token numbers) that comparison opened."""

    id: int
    text: str
    open_positions: frozenset[int]


@dataclass(frozen=True)
class Templates:
    """The result of a pass: the templates by id, and the template id of each pattern ever passed, expired ones included."""

    by_id: Mapping[int, Template]
    template_ids: Mapping[int, int]


NO_TEMPLATES = Templates({}, {})
"""What the first pass starts from."""


_NOTHING_OPEN: frozenset[int] = frozenset()
"""One for all: an empty frozenset takes 216 bytes, and most templates have nothing open."""


def find_templates(patterns: Iterable[PatternRow], former: Templates = NO_TEMPLATES) -> Templates:
    """Joins `patterns`, oldest first, with each other and with the templates of a `former` pass, all of which are older.

    Idempotent, and monotone: patterns that `former` has in one template stay in one. What `former` left apart is compared with what has
    arrived, not with itself again. Of 200,000 distinct texts a first pass takes about a second, a later one half of it,
    half of that without Python's lock.
    """
    # Also when the same pattern is given twice: a pass must change nothing that it has done before.
    arrived = {pattern.id: pattern.text for pattern in patterns if pattern.id not in former.template_ids}
    if not arrived:
        return former
    texts = _Texts({template.text: template.open_positions for template in former.by_id.values()})
    for text in arrived.values():
        texts.add(text, _NOTHING_OPEN)
    # Joining makes new texts, which may fit in turn. Each step lessens the number of live texts, so this ends.
    while texts.absorb() or texts.open():
        pass
    return _name(arrived, former, texts)


def _name(arrived: Mapping[int, str], former: Templates, texts: "_Texts") -> Templates:
    """Gives each final text the id that is oldest among those that lead to it; ids stay in the order of age."""
    ids: dict[str, int] = {}
    heirs: dict[int, int] = {}
    # Former ones first: they are older than all that arrived, so the id of a joined text is that of the oldest.
    for template in former.by_id.values():
        heir = ids.setdefault(texts.final(template.text), template.id)
        if heir != template.id:
            heirs[template.id] = heir
    template_ids = dict(former.template_ids)
    # Most passes join no two templates; then the mapping is not walked through.
    if heirs:
        template_ids.update((pattern, heirs[old]) for pattern, old in former.template_ids.items() if old in heirs)
    for identity, text in arrived.items():
        # In the order of arrival: the first one with a new text gives it its id.
        template_ids[identity] = ids.setdefault(texts.final(text), identity)
    by_id = {identity: texts.template(identity, text, former.by_id.get(identity)) for text, identity in ids.items()}
    return Templates(by_id, template_ids)


class _Texts:
    """Texts on their way to templates: the live ones with their open positions, and for each joined one what it became.

    What a former pass left is settled until it changes: two settled texts have been compared.
    """

    def __init__(self, settled: dict[str, frozenset[int]]) -> None:
        self.live = settled
        # What may still join; all other pairs were compared by a former pass.
        self._fresh: set[str] = set()
        self._became: dict[str, str] = {}

    def add(self, text: str, open_positions: frozenset[int]) -> None:
        had = self.live.get(text)
        # A text that gains nothing is not fresh, or the loop would never end.
        if had is None or not open_positions <= had:
            self.live[text] = open_positions | had if had else open_positions
            self._fresh.add(text)

    def final(self, text: str) -> str:
        # Chains are short: each step is a join of one pass.
        while text in self._became:
            text = self._became[text]
        return text

    def template(self, identity: int, text: str, former: Template | None) -> Template:
        """The template of a final text; the former one itself where nothing has changed."""
        if former is not None and text == former.text and text not in self._fresh:
            return former
        return Template(identity, text, self.live[text])

    def absorb(self) -> bool:
        """Joins each text that differs from a template in its open positions only; True if there was one."""
        # By number of tokens: a text can only fit a template of the same length.
        shapes: dict[int, set[frozenset[int]]] = defaultdict(set)
        fresh_shapes: dict[int, set[frozenset[int]]] = defaultdict(set)
        for text, positions in self.live.items():
            if positions:
                shapes[text.count(" ")].add(positions)
                if text in self._fresh:
                    fresh_shapes[text.count(" ")].add(positions)
        homes = [
            (text, home)
            for text in self.live
            if text in self._fresh or fresh_shapes
            for home in self._homes(text, (shapes if text in self._fresh else fresh_shapes).get(text.count(" "), ()))
        ]
        # After the search: joining changes the table that the search walks through.
        for text, home in homes:
            self._join([text], self.final(home), _NOTHING_OPEN)
        return bool(homes)

    def _homes(self, text: str, shapes: Iterable[frozenset[int]]) -> Iterator[str]:
        """The most specific template that takes the text in, if any."""
        if not shapes:
            return
        tokens = text.split(" ")
        candidates = ((positions, _masked(tokens, positions)) for positions in shapes if self.live[text] <= positions)
        fitting = [(len(positions), home) for positions, home in candidates if home != text and self.live.get(home) == positions]
        if fitting:
            # The fewest open positions, then the text: the same result whatever the order of a set.
            yield min(fitting)[1]

    def open(self) -> bool:
        """Opens the positions that have shown enough values, those with the most values first; True if there was one."""
        texts = list(self.live)
        fresh = np.fromiter((text in self._fresh for text in texts), np.bool_, len(texts))
        # Only those that something fresh is part of.
        shared = shared_skeletons(texts, VALUES_AFTER_LABEL, fresh)
        found = [bucket for position, rows in shared for bucket in _buckets(texts, position, rows)]
        # The most evidence first; text and position make the order total, so that two runs join alike.
        found.sort(key=lambda bucket: (-len(bucket[2]), bucket[0], bucket[1]))
        opened = [self._open_one(*bucket) for bucket in found]
        return any(opened)

    def _open_one(self, text: str, position: int, members: list[str]) -> bool:
        """Joins those of the members that no other bucket of this round has taken, if they still are enough."""
        # An earlier bucket of this round may have taken some.
        left = [member for member in members if member in self.live]
        values = {member.split(" ")[position] for member in left}
        # Counted again: what is left may be too few.
        if len(left) < VALUES_AFTER_LABEL or len(values) < values_needed(text.split(" "), position, values):
            return False
        self._join(left, self.final(text), frozenset({position}))
        return True

    def _join(self, members: list[str], text: str, opened: frozenset[int]) -> None:
        for member in members:
            # What was open in a part is open in the whole.
            opened |= self.live.pop(member)
            if member != text:
                self._became[member] = text
        self.add(text, opened)


def _masked(tokens: list[str], positions: Iterable[int]) -> str:
    tokens = tokens.copy()
    for position in positions:
        tokens[position] = MASK
    return " ".join(tokens)


def _buckets(texts: list[str], position: int, rows: list[int]) -> Iterator[tuple[str, int, list[str]]]:
    """The texts of rows that agree in every token but one, exactly, by the text that they would become."""
    # Equal keys only nominate: two hashes may agree by accident.
    exact: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        exact[_masked(texts[row].split(" "), (position,))].append(texts[row])
    return ((text, position, members) for text, members in exact.items() if len(members) >= VALUES_AFTER_LABEL)
