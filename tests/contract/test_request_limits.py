"""Each text, list and number of each rpc has a limit, and the largest legal request and one more of everything are answered at once."""

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

from tests.hostile_requests import FILES, SERVICES, TABLES, edges, nested, paths, table_of, varint, with_value
from treering.v1 import query_pb2
from treering.v1.error_pb2 import ErrorReason
from treering_query import request_limits as query
from treering_runtime.errors import ServiceError
from treering_runtime.faulty_text import faulty_text
from treering_runtime.limits import COUNTED_REQUEST_BYTES, MAX_MESSAGE_BYTES, MAX_REQUEST_FIELDS
from treering_runtime.request_limits import SHARED, Free, Known, Many, Number, RequestLimits, Sizes, Text, needs_row, row_name

PATIENCE_S = 1.0
"""How long the boundary may take for any request, seconds of its thread: the loop of the service stands still meanwhile."""


def fields_of(kind: Descriptor, seen: set[str]) -> Iterator[FieldDescriptor]:
    if kind.full_name in seen:
        return
    seen.add(kind.full_name)
    for field in kind.fields:
        yield field
        if field.message_type:
            yield from fields_of(field.message_type, seen)


CASES = [
    pytest.param(table_of(service), request, id=request.name)
    for service in SERVICES
    for request in dict.fromkeys(method.input_type for method in service.methods)
]


def test_every_service_of_the_contract_is_looked_at() -> None:
    pool = descriptor_pool.Default()
    ours = [f"treering/v1/{name}.proto" for name in ("admin", "ingest", "query", "embed", "sink", "log", "error")]
    assert {file.DESCRIPTOR.name for file in FILES} >= {name for name in ours if pool.FindFileByName(name).services_by_name}


@pytest.mark.parametrize(("limits", "request_kind"), CASES)
def test_each_field_of_each_request_has_a_limit(limits: Any, request_kind: Any) -> None:
    without = [row_name(field) for field in fields_of(request_kind, set()) if needs_row(field) and row_name(field) not in limits.rows]
    assert without == []


@pytest.mark.parametrize(("limits", "request_kind"), CASES)
def test_each_limit_fits_its_field(limits: Any, request_kind: Any) -> None:
    for field in fields_of(request_kind, set()):
        limit = limits.rows.get(row_name(field))
        if limit is None or isinstance(limit, Free):
            continue
        one = limit.each if isinstance(limit, Many) else limit
        assert isinstance(limit, Many) == field.is_repeated, field.full_name
        wanted = {FieldDescriptor.CPPTYPE_STRING: Text | Sizes, FieldDescriptor.CPPTYPE_ENUM: Known, FieldDescriptor.CPPTYPE_MESSAGE: Free}
        assert isinstance(one, Free | wanted.get(field.cpp_type, Number)), field.full_name


def test_no_row_is_for_a_field_that_no_request_has() -> None:
    requests = [method.input_type for service in SERVICES for method in service.methods]
    used = {row_name(field) for request in requests for field in fields_of(request, set())}
    assert {name for rows in (SHARED, *TABLES.values()) for name in rows} - used == set()


def passes(limits: RequestLimits, kind: Descriptor, raw: bytes) -> ServiceError | None:
    """What the boundary says to some bytes; fails when it takes too long."""
    started = time.thread_time()
    try:
        limits.check_wire(raw, kind)
        limits.check(GetMessageClass(kind).FromString(raw))
    except ServiceError as error:
        return error
    finally:
        assert time.thread_time() - started < PATIENCE_S
    return None


@pytest.mark.parametrize(("limits", "request_kind"), CASES)
def test_what_is_at_a_limit_passes_and_one_more_is_refused_by_name(limits: Any, request_kind: Any) -> None:
    for path, largest, above, most in edges(limits, request_kind):
        name = path[-1].name
        assert passes(limits, request_kind, with_value(request_kind, path, largest)) is None, name
        error = passes(limits, request_kind, with_value(request_kind, path, above))
        assert error is not None, name
        assert error.reason == ErrorReason.ERROR_REASON_INVALID_FIELD
        assert name in error.metadata["field"]
        assert error.metadata.get("limit") == (None if most is None else str(most))
        assert name in error.message


@pytest.mark.parametrize(("limits", "request_kind"), CASES)
def test_a_text_with_a_zero_byte_is_refused_by_name(limits: Any, request_kind: Any) -> None:
    for path in paths(request_kind):
        limit = limits.rows.get(row_name(path[-1]))
        text = limit.each if isinstance(limit, Many) else limit
        if isinstance(text, Text) and not text.zero_bytes:
            value = "a\0b" if isinstance(limit, Text) else ["a\0b"]
            error = passes(limits, request_kind, with_value(request_kind, path, value))
            assert error is not None
            assert path[-1].name in error.metadata["field"]
            assert "zero byte" in error.message


@pytest.mark.parametrize(("limits", "request_kind"), CASES)
def test_a_text_that_is_not_utf_8_is_named(limits: Any, request_kind: Any) -> None:
    del limits
    for path in paths(request_kind):
        if path[-1].type == FieldDescriptor.TYPE_STRING:
            raw = nested(path, b"fine") + nested(path[:-1], varint(path[-1].number << 3 | 2) + b"\2\xc3\x28")
            assert faulty_text(nested(path, b"fine"), request_kind) == ""
            found = re.sub(r"\[\d+\]", "", faulty_text(raw, request_kind))
            assert found == ".".join(field.name for field in path)


def test_the_element_of_a_list_that_is_not_utf_8_is_numbered() -> None:
    good = query_pb2.AggregateLogsRequest(filter={"services": ["a", "b"], "environments": ["c"]}, group_by=[{}]).SerializeToString()  # type: ignore[list-item]
    kind = query_pb2.AggregateLogsRequest.DESCRIPTOR
    [path] = [path for path in paths(kind) if [field.name for field in path] == ["group_by", "attribute"]]
    assert faulty_text(good + nested(path, b"\xff"), kind) == "group_by[1].attribute"


@pytest.mark.parametrize("raw", [b"\xff", b"\x0a\x05a", b"", b"\x0b\x0c"])
def test_bytes_that_do_not_fall_into_fields_have_no_text_to_name(raw: bytes) -> None:
    assert faulty_text(raw, query_pb2.SearchLogsRequest.DESCRIPTOR) == ""


@pytest.mark.parametrize("overlong", [False, True])
@pytest.mark.parametrize(("limits", "request_kind"), CASES)
def test_the_largest_message_of_nothing_but_one_list_is_refused_before_it_is_unfolded(
    limits: Any, request_kind: Any, overlong: bool
) -> None:
    for path in paths(request_kind):
        limit, field = limits.rows.get(row_name(path[-1])), path[-1]
        if not isinstance(limit, Many):
            continue
        kind = 2 if field.cpp_type in {FieldDescriptor.CPPTYPE_STRING, FieldDescriptor.CPPTYPE_MESSAGE} else 1
        kind = 0 if field.type == FieldDescriptor.TYPE_ENUM else kind
        tag = field.number << 3 | kind
        element = (bytes([tag | 128, 0]) if overlong else bytes([tag])) + (bytes(8) if kind == 1 else b"\0")
        raw = nested(path[:-1], element * ((MAX_MESSAGE_BYTES - 100) // len(element)))
        started = time.thread_time()  # other programs of the machine are not counted
        with pytest.raises(ServiceError) as caught:
            limits.check_wire(raw, request_kind)
        assert time.thread_time() - started < PATIENCE_S
        assert int(caught.value.metadata["limit"]) in {limit.most, MAX_REQUEST_FIELDS}


@pytest.mark.parametrize(("limits", "request_kind"), [case for case in CASES if case.id != "UploadLogsRequest"])
def test_packed_numbers_are_counted_on_the_wire(limits: Any, request_kind: Any) -> None:
    for path in paths(request_kind):
        limit, field = limits.rows.get(row_name(path[-1])), path[-1]
        if not isinstance(limit, Many) or not field.is_packed:
            continue
        size = 1 if field.type == FieldDescriptor.TYPE_ENUM else 8
        for count in (limit.most, limit.most + 1):
            filler = bytes(max(0, COUNTED_REQUEST_BYTES))
            content = varint(field.number << 3 | 2) + varint(count * size) + b"\1" * (count * size)
            raw = nested(path[:-1], content + varint(1_000 << 3 | 2) + varint(len(filler)) + filler)
            if count > limit.most:
                with pytest.raises(ServiceError, match=field.name):
                    limits.check_wire(raw, request_kind)
            else:
                limits.check_wire(raw, request_kind)


@pytest.mark.parametrize("start", [b"\x0b", b"\x0c", b"\x07", b"\x0a\xff\xff\xff\xff\x07"])
def test_large_bytes_that_are_no_message_of_ours_are_refused_at_once(start: bytes) -> None:
    raw = start + bytes(MAX_MESSAGE_BYTES - len(start))
    with pytest.raises((ValueError, IndexError)):
        RequestLimits(query.LIMITS).check_wire(raw, query_pb2.AggregateLogsRequest.DESCRIPTOR)


def test_a_list_in_several_parts_of_one_message_is_counted_whole() -> None:
    part = query_pb2.AggregateLogsRequest(filter={"services": ["x" * 130] * 501}).SerializeToString()
    with pytest.raises(ServiceError, match=r"filter\.services: more than 1000"):
        RequestLimits(query.LIMITS).check_wire(part + part, query_pb2.AggregateLogsRequest.DESCRIPTOR)
