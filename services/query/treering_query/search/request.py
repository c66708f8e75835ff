"""A search as it was asked for, checked."""

from collections.abc import Sequence
from dataclasses import dataclass

from treering.v1 import query_pb2 as pb
from treering.v1.log_pb2 import Position
from treering_query import limits
from treering_query.meaning.meant import NOTHING, Meant
from treering_query.reading import filters
from treering_query.search import cursor
from treering_query.search.cursor import Shown
from treering_query.search.literals import Literals, find_literals
from treering_query.values.predicate import Predicate
from treering_runtime.errors import invalid_field
from treering_runtime.limits import MAX_QUERY_TEXT_CHARACTERS

_DEFAULT_RESULTS = 10
_DEFAULT_SAMPLES = 3
_DEFAULT_BUDGET_MS = 300
_MODES = {pb.SEARCH_MODE_HYBRID, pb.SEARCH_MODE_SEMANTIC, pb.SEARCH_MODE_KEYWORD}


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
    shown: Shown
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
    _check_numbers(request)
    # Of the request as it came, before defaults are filled in: the next page's request looks the same.
    fingerprint = cursor.fingerprint(request)
    return Search(
        text=request.text.strip(),
        mode=request.mode or pb.SEARCH_MODE_HYBRID,
        predicate=filters.where(request.filter, meant),
        literals=find_literals(request.text),
        limit=request.limit or _DEFAULT_RESULTS,
        flat=request.flat,
        # 0 is a wish here, for none; only an absent field has the default.
        samples=request.samples_per_pattern if request.HasField("samples_per_pattern") else _DEFAULT_SAMPLES,
        min_score=request.min_score,
        literal_budget_s=(request.literal_budget_ms or _DEFAULT_BUDGET_MS) / 1000,
        min_positions=list(request.min_positions),
        like=like,
        shown=cursor.shown(request.cursor, fingerprint),
        fingerprint=fingerprint,
    )


def _check_text(text: str, like: Position | None) -> None:
    if like is not None:
        if text:
            raise invalid_field("text", "set beside `like`; ask for one of the two")
        return
    if not text.strip():
        raise invalid_field("text", "empty; say in some words what to look for")
    if len(text) > MAX_QUERY_TEXT_CHARACTERS:
        limit = MAX_QUERY_TEXT_CHARACTERS
        raise invalid_field("text", f"{len(text)} characters, over {limit}; search for its most telling part", limit=limit)
    # The database ends a text at a zero byte, and would find what was not asked for.
    if "\0" in text:
        raise invalid_field("text", "holds a zero byte, which no record can be compared with; leave it out")


def _check_numbers(request: pb.SearchLogsRequest) -> None:
    if request.mode and request.mode not in _MODES:
        raise invalid_field("mode", f"{request.mode} is no mode; they are 1 (hybrid), 2 (semantic) and 3 (keyword)")
    _check_most("limit", request.limit, limits.MAX_SEARCH_RESULTS)
    _check_most("samples_per_pattern", request.samples_per_pattern, limits.MAX_SAMPLES_PER_PATTERN)
    _check_most("literal_budget_ms", request.literal_budget_ms, limits.MAX_LITERAL_BUDGET_MS)
    if not 0 <= request.min_score <= 1:
        raise invalid_field("min_score", f"{request.min_score:g} is outside 0 to 1; 0.5 keeps what is about the text")


def _check_most(field: str, value: int, limit: int) -> None:
    if value > limit:
        raise invalid_field(field, f"{value} is over {limit}; ask for less", limit=limit)
