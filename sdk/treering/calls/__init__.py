"""One function for each method of a client: its arguments in Python's terms, the request it becomes, and its manual.

`Client` and `AsyncClient` have a method for each, `AdminClient` has those of the inner plane, with the same name, arguments and
documentation. In all of them:

- `timeout` is the call's deadline in seconds. None takes the client's default; `math.inf` sets none. Endless streams have none by default.
- `min_positions` waits until the answer includes everything below these positions, within the deadline: pass `UploadResult.positions`
  (or the `seen` of an earlier answer) to read what was written.
- Answers are the contract's own messages (`treering.v1`), whose fields are documented there.
- Every failure is a `TreeringError`.
"""

from treering.calls.admin import (
    cancel_reindex,
    digest_index,
    digest_log,
    digest_store,
    forget_patterns,
    score_patterns,
    start_reindex,
    verify_store,
)
from treering.calls.call import Call
from treering.calls.embed import embed_texts, get_embed_status, search_patterns
from treering.calls.ingest import get_ingest_status, stream_logs, upload_logs
from treering.calls.lists import LogOrder, list_field_values, list_fields, list_logs
from treering.calls.numbers import AggregateOrder, aggregate_logs, execute_sql
from treering.calls.patterns import PatternChange, PatternOrder, PatternUnit, compare_patterns, get_pattern, list_patterns, watch_patterns
from treering.calls.records import (
    SearchMode,
    export_logs,
    get_log_context,
    get_query_status,
    search_logs,
    tail_logs,
)

__all__ = [
    "AggregateOrder",
    "Call",
    "LogOrder",
    "PatternChange",
    "PatternOrder",
    "PatternUnit",
    "SearchMode",
    "aggregate_logs",
    "cancel_reindex",
    "compare_patterns",
    "digest_index",
    "digest_log",
    "digest_store",
    "embed_texts",
    "execute_sql",
    "export_logs",
    "forget_patterns",
    "get_embed_status",
    "get_ingest_status",
    "get_log_context",
    "get_pattern",
    "get_query_status",
    "list_field_values",
    "list_fields",
    "list_logs",
    "list_patterns",
    "score_patterns",
    "search_logs",
    "search_patterns",
    "start_reindex",
    "stream_logs",
    "tail_logs",
    "upload_logs",
    "verify_store",
    "watch_patterns",
]
