"""Records like this one: a record in the place of a text.

What is compared is the record's masked message, because its variable parts say nothing about what it means; nothing is looked up letter
by letter. The record's own pattern comes first, whatever it scores: whoever asks wants to see how often exactly this was said, and then
what resembles it. The record itself may be among the records of its pattern.
"""

from dataclasses import replace

import pyarrow as pa

from treering.v1.error_pb2 import ErrorReason
from treering.v1.log_pb2 import Position
from treering_query.reading.slices import between
from treering_query.search.pattern_texts import PatternTexts
from treering_query.search.request import Search
from treering_query.view.snapshot import Snapshot
from treering_runtime.errors import ServiceError, invalid_field
from treering_runtime.limits import MAX_QUERY_TEXT_CHARACTERS
from treering_runtime.patterns import MASK, NO_PATTERN


def resolved(snapshot: Snapshot, texts: PatternTexts, search: Search) -> Search:
    """The search with the record's text in it; unchanged where it asks for a text. Blocks: runs on a thread of the store.

    Raises:
        ServiceError: NOT_FOUND when there is no such record; INVALID_FIELD when log_id 0 does not name one log.
    """
    if search.like is None:
        return search
    # On the snapshot of the search: a record that is found has its pattern in the same view.
    found = _record(snapshot, search.like)
    pattern_id, message = found.column("pattern_id")[0].as_py(), found.column("message")[0].as_py()
    if pattern_id == NO_PATTERN:  # its text is of no record, and the others of this id are not like this one
        return replace(search, text=_searchable(message))
    # Masks are no words of a language: the encoder would take them for some.
    masked = " ".join(text.replace(MASK, " ") for text in texts.described([pattern_id]).column("text").to_pylist())
    masked = " ".join(masked.split())
    # A message of nothing but variables has no constant words; then it is compared as it is.
    told = masked if any(character.isalpha() for character in masked) else message
    return replace(search, text=_searchable(told), own_pattern=pattern_id)


def _searchable(text: str) -> str:
    # The limits of a query's text hold for this one too: embed refuses longer ones, and an empty one.
    return text[:MAX_QUERY_TEXT_CHARACTERS].replace("\0", " ").strip() or MASK


def _record(snapshot: Snapshot, position: Position) -> pa.Table:
    # Most stores have one log, and people type an offset.
    log_id, offset = position.log_id or _only_log(snapshot), position.offset
    part = between(snapshot, log_id, offset, offset + 1)
    sql = f'select pattern_id, message from {part.records} where log_id = $log::ubigint and "offset" = $offset::ubigint'
    table = part.query(snapshot, sql, {"log": log_id, "offset": offset})
    if not table.num_rows:
        message = f"no record at offset {offset} of log {log_id}; positions are in every record that is returned"
        raise ServiceError(ErrorReason.ERROR_REASON_NOT_FOUND, message, metadata={"field": "like"})
    return table


def _only_log(snapshot: Snapshot) -> int:
    logs = [position.log_id for position in snapshot.seen]
    if len(logs) > 1:
        raise invalid_field("like.log_id", f"0, but there are {len(logs)} logs; name the one that is meant")
    return logs[0] if logs else 0
