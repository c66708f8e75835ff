"""The form of the contract: what every list, number, enum and name has in common."""

import keyword

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from treering.v1 import admin_pb2, embed_pb2, ingest_pb2, query_pb2, sink_pb2
from treering.v1.error_pb2 import ErrorReason

SERVICES = ("IngestService", "EmbedService", "QueryService")
FILES = [each.DESCRIPTOR for each in (admin_pb2, embed_pb2, ingest_pb2, query_pb2, sink_pb2)]

TOP_LISTS = {"treering.v1.AggregateLogsRequest.limit", "treering.v1.SearchPatternsRequest.limit"}
"""How many of the first are wanted; nothing comes after them."""

_KEYWORDS = """
    break case catch char class const continue default delete do double else enum export extends false final finally float for func
    go goto if implements import in instanceof int interface let long namespace native new null operator package private protected public
    return short signed static struct super switch template this throw throws true try typedef union unsigned using var virtual void
    volatile while with yield
"""
KEYWORDS = {*keyword.kwlist, *_KEYWORDS.split()}
"""Of languages in which a field is a name by itself."""


def requests() -> list[Descriptor]:
    services = [descriptor_pool.Default().FindServiceByName(f"treering.v1.{name}") for name in SERVICES]
    return [method.input_type for service in services for method in service.methods]


def fields_of(kind: Descriptor, seen: set[str]) -> list[FieldDescriptor]:
    """Every field of a message and of those inside it, each once."""
    if kind.full_name in seen or not kind.full_name.startswith("treering.v1."):
        return []
    seen.add(kind.full_name)
    return [*kind.fields, *(inner for field in kind.fields if field.message_type for inner in fields_of(field.message_type, seen))]


def asked() -> list[FieldDescriptor]:
    seen: set[str] = set()
    return [field for request in requests() for field in fields_of(request, seen)]


def test_an_enum_that_is_asked_for_can_be_unset() -> None:
    data = {"treering.v1.LogRecord.severity"}
    enums = [field for field in asked() if field.enum_type and not field.is_repeated and field.full_name not in data]
    assert len(enums) > 8
    assert [field.full_name for field in enums if not field.has_presence] == []


def test_lists_are_paged_in_one_way() -> None:
    answers = {
        method.input_type.full_name: method.output_type
        for file in FILES
        for service in file.services_by_name.values()
        for method in service.methods
    }
    for request in requests():
        names = {field.name for field in request.fields}
        if "page_size" in names:
            assert {"page_size", "page_token"} <= names
        if "page_token" in names:
            assert "next_page_token" in answers[request.full_name].fields_by_name, request.full_name
        assert "cursor" not in names
        assert "limit" not in names or f"{request.full_name}.limit" in TOP_LISTS


def test_how_many_can_be_unset() -> None:
    words = (
        "page_size",
        "limit",
        "buckets",
        "max_rows",
        "timeout_ms",
        "budget_ms",
        "samples",
        "samples_per_pattern",
        "values_per_variable",
    )
    found = [field for field in asked() if field.name.endswith(words) and field.type != FieldDescriptor.TYPE_MESSAGE]
    assert len(found) > 8
    assert [field.full_name for field in found if not field.has_presence] == []


def test_no_name_is_a_keyword() -> None:
    messages = [message for file in FILES for message in file.message_types_by_name.values()]
    fields = [field for message in messages for field in fields_of(message, set())]
    oneofs = [oneof for message in messages for oneof in message.oneofs]
    assert [each.full_name for each in (*fields, *oneofs) if each.name in KEYWORDS] == []


def test_there_are_reasons_for_whoever_may_not_call() -> None:
    names = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.DESCRIPTOR.values_by_name}
    assert {"UNAUTHENTICATED", "PERMISSION_DENIED", "QUOTA_EXCEEDED"} <= names
