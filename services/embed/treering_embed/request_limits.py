"""The limits of what embed is asked: one row for each text, list and number. See `treering_runtime.request_limits`."""

from collections.abc import Mapping

from treering_embed import limits
from treering_runtime.limits import MAX_ASKED_NAME_BYTES, MAX_MIN_POSITIONS, MAX_QUERY_TEXT_CHARACTERS
from treering_runtime.request_limits import Free, Limit, Many, Number, Text

_POSITIONS = Many(MAX_MIN_POSITIONS, "give one for each log")
_TEXT = Text(MAX_QUERY_TEXT_CHARACTERS, "the model reads no more than its first sentences", zero_bytes=True)

LIMITS: Mapping[str, Limit] = {
    "SearchPatternsRequest.text": _TEXT,
    "PatternIdSet.pattern_ids": Many(limits.MAX_RESTRICT),
    "SearchPatternsRequest.services": Many(
        limits.MAX_SERVICES, each=Text(MAX_ASKED_NAME_BYTES, "no record has one that is longer", "bytes")
    ),
    "SearchPatternsRequest.also_score_ids": Many(limits.MAX_ALSO_SCORE),
    "SearchPatternsRequest.limit": Number(limits.MAX_SEARCH_LIMIT, "ask for that many at most", least=1),
    "SearchPatternsRequest.min_positions": _POSITIONS,
    "ScorePatternsRequest.texts": Many(limits.MAX_SCORE_TEXTS, each=_TEXT),
    "ScorePatternsRequest.min_positions": _POSITIONS,
    "EmbedTextsRequest.texts": Many(limits.MAX_EMBED_TEXTS, each=_TEXT),
    "ForgetPatternsRequest.pattern_ids": Many(limits.MAX_FORGET),
    "ForgetPatternsRequest.below": _POSITIONS,
    "DigestIndexRequest.min_positions": _POSITIONS,
    "StartReindexRequest.request_id": Text(limits.MAX_REQUEST_ID_BYTES, "a random UUID is a good choice", "bytes"),
    "CancelReindexRequest.reindex_id": Free("a reindex that nobody knows is not found"),
    "StartReindexRequest.model": Text(limits.MAX_MODEL_NAME_CHARACTERS, "give the name of a model or a path"),
}
