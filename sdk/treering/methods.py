"""The methods of `Client` and `AsyncClient`, written once; `rpc` binds them to the one or to the other."""

from treering import calls
from treering.results import SqlResult
from treering.rpc import Collected, Paged, Streaming, Unary
from treering.v1 import embed_pb2, ingest_pb2, query_pb2
from treering.v1.log_pb2 import StoredRecord


class Methods:
    """A method for each rpc, and what most programs use in its place: `sql`, `logs`, `fields`, `patterns`, `tail`."""

    # Endless: batches come for as long as the caller has some, and a default deadline would cut them.
    upload_logs = Unary(calls.upload_logs, "ingest", "UploadLogs", ingest_pb2.UploadLogsResponse, endless=True)
    stream_logs = Streaming(calls.stream_logs, "ingest", "StreamLogs", ingest_pb2.StreamLogsResponse, endless=True)
    get_ingest_status = Unary(calls.get_ingest_status, "ingest", "GetIngestStatus", ingest_pb2.GetIngestStatusResponse)

    search_patterns = Unary(calls.search_patterns, "embed", "SearchPatterns", embed_pb2.SearchPatternsResponse)
    embed_texts = Unary(calls.embed_texts, "embed", "EmbedTexts", embed_pb2.EmbedTextsResponse)
    get_embed_status = Unary(calls.get_embed_status, "embed", "GetEmbedStatus", embed_pb2.GetEmbedStatusResponse)

    aggregate_logs = Unary(calls.aggregate_logs, "query", "AggregateLogs", query_pb2.AggregateLogsResponse)
    execute_sql = Streaming(calls.execute_sql, "query", "ExecuteSql", query_pb2.ExecuteSqlResponse)
    search_logs = Unary(calls.search_logs, "query", "SearchLogs", query_pb2.SearchLogsResponse)
    list_patterns = Unary(calls.list_patterns, "query", "ListPatterns", query_pb2.ListPatternsResponse)
    get_pattern = Unary(calls.get_pattern, "query", "GetPattern", query_pb2.GetPatternResponse)
    compare_patterns = Unary(calls.compare_patterns, "query", "ComparePatterns", query_pb2.ComparePatternsResponse)
    watch_patterns = Streaming(calls.watch_patterns, "query", "WatchPatterns", query_pb2.WatchPatternsResponse, endless=True)
    tail_logs = Streaming(calls.tail_logs, "query", "TailLogs", query_pb2.TailLogsResponse, endless=True)
    get_log_context = Unary(calls.get_log_context, "query", "GetLogContext", query_pb2.GetLogContextResponse)
    list_logs = Unary(calls.list_logs, "query", "ListLogs", query_pb2.ListLogsResponse)
    list_fields = Unary(calls.list_fields, "query", "ListFields", query_pb2.ListFieldsResponse)
    list_field_values = Unary(calls.list_field_values, "query", "ListFieldValues", query_pb2.ListFieldValuesResponse)
    get_query_status = Unary(calls.get_query_status, "query", "GetQueryStatus", query_pb2.GetQueryStatusResponse)
    # Endless as well: it reads everything that is selected, and nobody knows before how much that is.
    export_logs = Streaming(calls.export_logs, "query", "ExportLogs", query_pb2.ExportLogsResponse, endless=True)

    # The same rpcs once more, as most programs want them.
    sql = Collected(calls.execute_sql, "query", "ExecuteSql", SqlResult)
    logs = Paged(calls.list_logs, "query", "ListLogs", StoredRecord, part="records")
    fields = Paged(calls.list_fields, "query", "ListFields", query_pb2.FieldSummary, part="fields")
    patterns = Paged(calls.list_patterns, "query", "ListPatterns", query_pb2.Pattern, part="patterns")
    tail = Streaming(calls.tail_logs, "query", "TailLogs", StoredRecord, endless=True, part="records")
