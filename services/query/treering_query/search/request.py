"""A search as it was asked for, checked."""

from collections.abc import Sequence
from dataclasses import dataclass

from treering.v1 import query_pb2 as pb
from treering.v1.log_pb2 import Position
from treering_query.meaning.meant import NOTHING, Meant
from treering_query.reading import filters
from treering_query.search import page_token
from treering_query.search.literals import Literals, find_literals
from treering_query.search.page_token import ShownPatterns
from treering_query.values.predicate import Predicate
from treering_runtime.errors import invalid_field

_DEFAULT_RESULTS = 10
_DEFAULT_SAMPLES = 3
_DEFAULT_BUDGET_MS = 300


@dataclass(frozen=True)
class Search:
    """A checked request; defaults are filled in."""

    text: str
    mode: pb.SearchMode.ValueType
    predicate: Predicate
    literals: Literals
    limit: int
    flat: bool
    samples: int
    min_score: float
    literal_budget_s: float
    min_positions: Sequence[Position]
    like: Position | None
    """Records like this one are asked for; `text` is then what `like.resolved` makes of it."""
    shown: ShownPatterns
    """What earlier pages held."""
    fingerprint: bytes
    """What the next page's request must agree in."""
    own_pattern: int | None = None
    """The pattern of the record that is asked for, once it is known."""


def checked(request: pb.SearchLogsRequest, meant: Meant = NOTHING) -> Search:
    """The search that a request asks for; `meant` scores its filter's `about`.

    Raises:
        ServiceError: INVALID_FIELD, naming the field and what to do.
    """
    like = request.like if request.HasField("like") else None
    # Cheap checks first: the filter may hold thousands of values.
    _check_text(request.text, like)
    fingerprint = page_token.fingerprint(request)
    return Search(
        text=request.text.strip(),
        mode=request.mode if request.HasField("mode") else pb.SEARCH_MODE_HYBRID,
        predicate=filters.where(request.filter, meant),
        literals=find_literals(request.text),
        limit=request.page_size if request.HasField("page_size") else _DEFAULT_RESULTS,
        flat=request.flat,
        samples=request.samples_per_pattern if request.HasField("samples_per_pattern") else _DEFAULT_SAMPLES,
        min_score=request.min_score,
        literal_budget_s=(request.literal_budget_ms if request.HasField("literal_budget_ms") else _DEFAULT_BUDGET_MS) / 1000,
        min_positions=list(request.min_positions),
        like=like,
        shown=page_token.shown(request.page_token, fingerprint),
        fingerprint=fingerprint,
    )


def _check_text(text: str, like: Position | None) -> None:
    if like is not None:
        if text:
            raise invalid_field("text", "set beside `like`; ask for one of the two")
        return
    if not text.strip():
        raise invalid_field("text", "empty; say in some words what to look for")
