"""The limits of what query is asked: one row for each text, list and number. See `treering_runtime.request_limits`."""

import sys
from collections.abc import Mapping

from treering.v1 import log_pb2
from treering.v1 import query_pb2 as pb
from treering_query import limits
from treering_query.reading.filters.checks import TREE
from treering_runtime.limits import MAX_ASKED_NAME_BYTES, MAX_MIN_POSITIONS, MAX_QUERY_TEXT_CHARACTERS
from treering_runtime.request_limits import LOG_ID, OFFSET, Free, Known, Limit, Many, Number, Sizes, Text

_TIME = Number(limits.MAX_TIME_UNIX_NANO, "times are nanoseconds since 1970, until 2262-04-11")
_POSITIONS = Many(MAX_MIN_POSITIONS, "give one for each log")
# In bytes, as the intake limits it: a longer one can match nothing.
_NAME = Text(MAX_ASKED_NAME_BYTES, "no record has one that is longer", "bytes")
_ABOUT = Text(limits.MAX_ABOUT_CHARACTERS)
_ATTRIBUTE = Text(limits.MAX_ATTRIBUTE_KEY_BYTES, f"an attribute's key has 1 to {limits.MAX_ATTRIBUTE_KEY_BYTES} bytes", "bytes")
_TEXT = Text(limits.MAX_FILTER_TEXT_CHARACTERS)
_EXPRESSION = Text(limits.MAX_EXPRESSION_CHARACTERS, "give its most telling part")
_TEXTS = Many(limits.MAX_FILTER_TEXT_CONDITIONS, "give alternatives as one expression of `matches`, or below `all_of`")
_NUMBER = Free("any number, or an infinite one; NaN is refused")
_SEVERITY = Known(log_pb2.Severity.DESCRIPTOR)
_PATTERN = Free("a pattern that nobody knows has no records")
_UNIT = Known(pb.PatternUnit.DESCRIPTOR)
_TOKEN = Text(limits.MAX_TOKEN_CHARACTERS, "begin again without one")

# Checked before a handler runs, so nothing below has to expect more. A test asks for a row for each field.
LIMITS: Mapping[str, Limit] = {
    "LogFilter.start_time_unix_nano": _TIME,
    "LogFilter.end_time_unix_nano": _TIME,
    "LogFilter.min_severity": _SEVERITY,
    "LogFilter.max_severity": _SEVERITY,
    "LogFilter.services": Many(limits.MAX_FILTER_SERVICES, each=_NAME),
    "LogFilter.environments": Many(limits.MAX_FILTER_ENVIRONMENTS, each=_NAME),
    "LogFilter.attributes": Many(limits.MAX_FILTER_ATTRIBUTES),
    "LogFilter.message_contains": _TEXT,
    "LogFilter.trace_id": Sizes((0, limits.TRACE_ID_BYTES), f"a trace id has {limits.TRACE_ID_BYTES}"),
    "LogFilter.positions": Many(limits.MAX_FILTER_POSITIONS),
    "LogFilter.pattern_ids": Many(limits.MAX_FILTER_PATTERNS),
    "LogFilter.about": _ABOUT,
    "LogFilter.all_of": TREE,
    "LogFilter.any_of": TREE,
    "LogFilter.none_of": TREE,
    "LogFilter.message": _TEXTS,
    "LogFilter.template_ids": Many(limits.MAX_FILTER_PATTERNS),
    "LogFilter.arrival_start_time_unix_nano": _TIME,
    "LogFilter.arrival_end_time_unix_nano": _TIME,
    "LogFilter.ranges": Many(limits.MAX_FILTER_RANGES),
    "AttributeFilter.key": _ATTRIBUTE,
    "AttributeFilter.values": Many(limits.MAX_FILTER_ATTRIBUTE_VALUES, each=_TEXT),
    "AttributeFilter.text": _TEXTS,
    "TextCondition.contains": _TEXT,
    "TextCondition.word": _EXPRESSION,
    "TextCondition.phrase": _EXPRESSION,
    "TextCondition.prefix": _TEXT,
    "TextCondition.equals": _TEXT,
    "TextCondition.matches": _EXPRESSION,
    "NumberRange.at_least": _NUMBER,
    "NumberRange.above": _NUMBER,
    "NumberRange.at_most": _NUMBER,
    "NumberRange.below": _NUMBER,
    "OffsetRange.log_id": LOG_ID,
    "OffsetRange.first_offset": OFFSET,
    "OffsetRange.end_offset_exclusive": Free("compared with first_offset"),
    "FieldRef.field": Known(pb.LogField.DESCRIPTOR),
    "FieldRef.attribute": _ATTRIBUTE,
    "FieldRef.about": _ABOUT,
    "Metric.function": Known(pb.AggregateFunction.DESCRIPTOR),
    "Metric.quantile": Number(1.0, "the 95th percentile is 0.95"),
    "AggregateLogsRequest.group_by": Many(limits.MAX_GROUP_BY, "group by less"),
    "AggregateLogsRequest.metrics": Many(limits.MAX_METRICS, "ask in several calls"),
    "AggregateLogsRequest.bucket_nanos": Number(
        limits.MAX_TIME_UNIX_NANO, "a bucket is at least a millisecond long, and not longer than all of time", limits.MIN_BUCKET_NANOS
    ),
    "AggregateLogsRequest.time_zone": Text(limits.MAX_TIME_ZONE_CHARACTERS, "write for example Europe/Warsaw"),
    "AggregateLogsRequest.order": Known(pb.AggregateOrder.DESCRIPTOR),
    "AggregateLogsRequest.limit": Number(limits.MAX_AGGREGATE_LIMIT, "ask for less or narrow the filter", least=1),
    "AggregateLogsRequest.min_positions": _POSITIONS,
    "ExecuteSqlRequest.query": Text(limits.MAX_SQL_CHARACTERS),
    "ExecuteSqlRequest.max_rows": Number(limits.MAX_SQL_ROWS, least=1),
    "ExecuteSqlRequest.timeout_ms": Number(limits.MAX_SQL_TIMEOUT_MS, least=1),
    "ExecuteSqlRequest.min_positions": _POSITIONS,
    "SearchLogsRequest.text": Text(MAX_QUERY_TEXT_CHARACTERS, "search for its most telling part"),
    "SearchLogsRequest.mode": Known(pb.SearchMode.DESCRIPTOR),
    "SearchLogsRequest.page_size": Number(limits.MAX_SEARCH_RESULTS, "page", least=1),
    "SearchLogsRequest.samples_per_pattern": Number(limits.MAX_SAMPLES_PER_PATTERN),
    "SearchLogsRequest.min_score": Number(1.0, "0.5 keeps what is about the text"),
    "SearchLogsRequest.literal_budget_ms": Number(limits.MAX_LITERAL_BUDGET_MS),
    "SearchLogsRequest.min_positions": _POSITIONS,
    "SearchLogsRequest.page_token": _TOKEN,
    "ListPatternsRequest.order": Known(pb.PatternOrder.DESCRIPTOR),
    "ListPatternsRequest.page_size": Number(limits.MAX_PAGE_PATTERNS, "page", least=1),
    "ListPatternsRequest.page_token": _TOKEN,
    "ListPatternsRequest.min_positions": _POSITIONS,
    "ListPatternsRequest.unit": _UNIT,
    "ListPatternsRequest.sparkline_buckets": Number(limits.MAX_SPARKLINE_PARTS, "two parts show a change", least=2),
    "GetPatternRequest.pattern_id": _PATTERN,
    "GetPatternRequest.template_id": _PATTERN,
    "GetPatternRequest.buckets": Number(limits.MAX_DETAIL_PARTS, "two parts show a change", least=2),
    "GetPatternRequest.values_per_variable": Number(limits.MAX_VARIABLE_VALUES, least=1),
    "GetPatternRequest.samples": Number(limits.MAX_SAMPLES_PER_PATTERN),
    "GetPatternRequest.min_positions": _POSITIONS,
    "ComparePatternsRequest.page_size": Number(limits.MAX_PAGE_PATTERNS, "page", least=1),
    "ComparePatternsRequest.min_positions": _POSITIONS,
    "ComparePatternsRequest.unit": _UNIT,
    "ComparePatternsRequest.changes": Many(len(pb.PatternChange.values()), "name each change once", Known(pb.PatternChange.DESCRIPTOR)),
    "ComparePatternsRequest.page_token": _TOKEN,
    "ComparePatternsRequest.min_log_likelihood_ratio": Number(sys.float_info.max, "10.83 is one time in 1,000 by chance"),
    "WatchPatternsRequest.start_positions": _POSITIONS,
    "WatchPatternsRequest.since_unix_nano": _TIME,
    "TailLogsRequest.backlog": Number(limits.MAX_BACKLOG_RECORDS, "ask for less, or begin at `start_positions`"),
    "TailLogsRequest.start_positions": _POSITIONS,
    "GetLogContextRequest.before": Number(limits.MAX_CONTEXT_RECORDS),
    "GetLogContextRequest.after": Number(limits.MAX_CONTEXT_RECORDS),
    "GetLogContextRequest.page_token": _TOKEN,
    "ExportLogsRequest.min_positions": _POSITIONS,
    "ListLogsRequest.order": Known(pb.LogOrder.DESCRIPTOR),
    "ListLogsRequest.page_size": Number(limits.MAX_LIST_RECORDS, "page", least=1),
    "ListLogsRequest.page_token": _TOKEN,
    "ListLogsRequest.max_message_bytes": Number(limits.MAX_LIST_MESSAGE_BYTES, "leave it out for whole messages", least=1),
    "ListLogsRequest.min_positions": _POSITIONS,
    "ListFieldsRequest.page_size": Number(limits.MAX_LIST_FIELDS, "page", least=1),
    "ListFieldsRequest.page_token": _TOKEN,
    "ListFieldsRequest.min_positions": _POSITIONS,
    "ListFieldValuesRequest.fields": Many(limits.MAX_VALUE_FIELDS, "ask in several calls"),
    "ListFieldValuesRequest.values_per_field": Number(limits.MAX_FIELD_VALUES, least=1),
    "ListFieldValuesRequest.budget_ms": Number(limits.MAX_VALUES_BUDGET_MS, "leave it out to look at all records"),
    "ListFieldValuesRequest.min_positions": _POSITIONS,
    "DigestStoreRequest.log_id": LOG_ID,
    "DigestStoreRequest.first_offset": OFFSET,
    "DigestStoreRequest.end_offset_exclusive": Free("checked against first_offset"),
    "DigestStoreRequest.step": Free("checked against the range"),
    "DigestStoreRequest.min_positions": _POSITIONS,
}
