"""The rpcs of EmbedService."""

from collections.abc import Iterable, Sequence

from treering.calls.call import Call
from treering.v1 import embed_pb2
from treering.v1.log_pb2 import Position


def search_patterns(
    text: str,
    *,
    restrict_to: Iterable[int] | None = None,
    services: Sequence[str] = (),
    also_score_ids: Sequence[int] = (),
    limit: int | None = None,
    min_positions: Sequence[Position] = (),
    timeout: float | None = None,
) -> Call[embed_pb2.SearchPatternsRequest]:
    """Ranks patterns by closeness of meaning. `search_logs` is the same with records, counts and literal hits.

    Args:
        text: What is looked for, in any words.
        restrict_to: Only these patterns; None is all, an empty list is none.
        services: Only patterns of these services.
        also_score_ids: Score these too, wherever they rank.
        limit: How many patterns, 1 to 10,000; None is 10.
        min_positions: See the module.
        timeout: See the module.
    """
    request = embed_pb2.SearchPatternsRequest(
        text=text, services=services, also_score_ids=also_score_ids, limit=limit, min_positions=min_positions
    )
    # None and empty differ: only a message that is set says "none of all patterns".
    if restrict_to is not None:
        request.restrict_to.CopyFrom(embed_pb2.PatternIdSet(pattern_ids=restrict_to))
    return Call(request, timeout)


def embed_texts(texts: Sequence[str], *, timeout: float | None = None) -> Call[embed_pb2.EmbedTextsRequest]:
    """Embeds 1 to 256 texts with the model of the index; vectors have unit length."""
    return Call(embed_pb2.EmbedTextsRequest(texts=texts), timeout)


def get_embed_status(*, timeout: float | None = None) -> Call[embed_pb2.GetEmbedStatusRequest]:
    """Which model is in use, and how far the index is."""
    return Call(embed_pb2.GetEmbedStatusRequest(), timeout)
