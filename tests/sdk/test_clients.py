import inspect
import math
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import grpc
import grpc_testing
import pyarrow as pa
import pytest
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.rpc import code_pb2, status_pb2
from grpc_status import rpc_status

import treering
from tests.sdk.facades import Connect, LoopClient
from treering import (
    AdminClient,
    AsyncClient,
    Client,
    Endpoints,
    InvalidArgumentError,
    OverloadedError,
    SqlError,
    TimedOutError,
    UnavailableError,
    calls,
)
from treering.channels import CHANNEL_OPTIONS
from treering.v1 import admin_pb2, embed_pb2, ingest_pb2, query_pb2, query_pb2_grpc
from treering.v1.error_pb2 import ErrorReason
from treering_runtime.errors import ServiceError
from treering_runtime.limits import MAX_MESSAGE_BYTES
from treering_runtime.statuses import to_status, trailing_metadata

from .conftest import Serving
from .facades import answer as ask

SERVICES = [
    ingest_pb2.DESCRIPTOR.services_by_name["IngestService"],
    embed_pb2.DESCRIPTOR.services_by_name["EmbedService"],
    query_pb2.DESCRIPTOR.services_by_name["QueryService"],
]
RPCS = [(service, method) for service in SERVICES for method in service.methods]


def snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def method(service: ServiceDescriptor, name: str) -> MethodDescriptor:
    return service.methods_by_name[name]


@pytest.fixture
def channel() -> Any:
    return grpc_testing.channel(SERVICES, grpc_testing.strict_real_time())


@pytest.fixture
def client(channel: Any) -> Client:
    return Client(Endpoints("i:1", "e:2", "q:3"), channel=channel, timeout=7)


INNER = [(service, method) for service in admin_pb2.DESCRIPTOR.services_by_name.values() for method in service.methods]
OWNED = [(owner, *rpc) for owner, rpcs in ((Client, RPCS), (AsyncClient, RPCS), (AdminClient, INNER)) for rpc in rpcs]


@pytest.mark.parametrize(("owner", "service", "rpc"), OWNED, ids=lambda item: getattr(item, "name", None) or item.__name__)
def test_every_rpc_has_a_typed_documented_method(
    owner: type[Client] | type[AsyncClient] | type[AdminClient], service: ServiceDescriptor, rpc: MethodDescriptor
) -> None:
    bound = inspect.getattr_static(owner, snake(rpc.name))
    assert (bound.name, bound.response.DESCRIPTOR) == (rpc.name, rpc.output_type)
    assert service.name.lower().startswith(bound.service)
    documented = getattr(owner, snake(rpc.name))
    assert documented.__doc__
    assert "timeout" in inspect.signature(documented).parameters


def test_the_package_loads_what_it_promises() -> None:
    for name in treering.__all__:
        assert getattr(treering, name) is not None
    with pytest.raises(AttributeError):
        _ = treering.no_such_thing


def test_message_sizes_are_those_of_the_services() -> None:
    assert dict(CHANNEL_OPTIONS)["grpc.max_receive_message_length"] == MAX_MESSAGE_BYTES


def in_thread(function: Any) -> Future[Any]:
    return ThreadPoolExecutor(1).submit(function)


def answer(
    channel: Any,
    service: ServiceDescriptor,
    name: str,
    call: Callable[[], query_pb2.SearchLogsResponse]
    | Callable[[], query_pb2.AggregateLogsResponse]
    | Callable[..., query_pb2.GetQueryStatusResponse],
    response: query_pb2.SearchLogsResponse | query_pb2.AggregateLogsResponse | query_pb2.GetQueryStatusResponse,
    code: grpc.StatusCode = grpc.StatusCode.OK,
    details: str = "",
    trailers: tuple[tuple[str, str | bytes], ...] | tuple[tuple[str, Any]] = (),
) -> tuple[Any, Any]:
    future = in_thread(call)
    _, request, rpc = channel.take_unary_unary(method(service, name))
    rpc.terminate(response, trailers, code, details)
    return request, future


def test_search_builds_the_request_of_its_arguments(client: Client, channel: Any) -> None:
    chosen = treering.log_filter(min_severity="error", services=["a"], where={"k": ["v", "w"]}, since=1_000, trace_id="ab" * 16)
    request, future = answer(
        channel,
        SERVICES[2],
        "SearchLogs",
        lambda: client.search_logs("x", mode="keyword", filter=chosen, page_size=5, samples_per_pattern=0),
        query_pb2.SearchLogsResponse(mask_version=3),
    )
    assert future.result().mask_version == 3
    assert (request.mode, request.page_size, request.samples_per_pattern) == (query_pb2.SEARCH_MODE_KEYWORD, 5, 0)
    assert request.filter.min_severity == 17
    assert request.filter.attributes[0].values == ["v", "w"]


def test_aggregate_reads_metrics_and_fields(client: Client, channel: Any) -> None:
    request, future = answer(
        channel,
        SERVICES[2],
        "AggregateLogs",
        lambda: client.aggregate_logs(by=["service", "region"], metric=["count", "p95:ms", "distinct:severity"], bucket_s=0.5),
        query_pb2.AggregateLogsResponse(),
    )
    future.result()
    assert request.group_by[0].field == query_pb2.LOG_FIELD_SERVICE
    assert request.group_by[1].attribute == "region"
    assert request.metrics[1].quantile == pytest.approx(0.95)
    assert request.bucket_nanos == 500_000_000


@pytest.mark.parametrize("text", ["", "p95", "median:x", "p101:x", "min:", "count:x"])
def test_what_is_no_metric_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"metric|field"):
        calls.aggregate_logs(metric=[text])


@pytest.mark.parametrize(
    ("reason", "family"),
    [
        (ErrorReason.ERROR_REASON_INVALID_FIELD, InvalidArgumentError),
        (ErrorReason.ERROR_REASON_SQL_ERROR, SqlError),
        (ErrorReason.ERROR_REASON_SQL_LIMIT, SqlError),
        (ErrorReason.ERROR_REASON_OVERLOADED, OverloadedError),
        (ErrorReason.ERROR_REASON_STARTING, UnavailableError),
        (ErrorReason.ERROR_REASON_TIMED_OUT, TimedOutError),
        (ErrorReason.ERROR_REASON_NOT_FOUND, treering.NotFoundError),
        (ErrorReason.ERROR_REASON_SEQUENCE_GAP, treering.ProducerError),
        (ErrorReason.ERROR_REASON_NOT_IMPLEMENTED, treering.UnsupportedError),
        (ErrorReason.ERROR_REASON_INTERNAL, treering.InternalError),
    ],
)
def test_reasons_become_typed_errors(client: Client, channel: Any, reason: ErrorReason.ValueType, family: Any) -> None:
    error = ServiceError(reason, "words", metadata={"field": "x"}, retry_after_s=2.5)
    status = rpc_status.to_status(to_status(error))
    empty = query_pb2.GetQueryStatusResponse()
    _, future = answer(
        channel, SERVICES[2], "GetQueryStatus", client.get_query_status, empty, status.code, status.details, trailing_metadata(error)
    )
    with pytest.raises(family) as caught:
        future.result()
    assert caught.value.message == "words"
    assert caught.value.reason == ErrorReason.Name(reason).removeprefix("ERROR_REASON_")
    assert caught.value.metadata == {"field": "x"}
    assert caught.value.retry_after_s == (2.5 if family is OverloadedError or "LIMIT" in caught.value.reason else None)


def test_every_reason_of_the_contract_has_a_family(client: Client, channel: Any) -> None:
    for reason in ErrorReason.values()[1:]:
        error = ServiceError(reason, "words")
        status = to_status(error)
        trailers = (("grpc-status-details-bin", status.SerializeToString()),)
        code = next(each for each in grpc.StatusCode if each.value[0] == status.code)
        empty = query_pb2.GetQueryStatusResponse()
        _, future = answer(channel, SERVICES[2], "GetQueryStatus", client.get_query_status, empty, code, "words", trailers)
        assert type(future.exception()) is not treering.TreeringError


def test_an_error_of_no_treering_service_names_the_address(client: Client, channel: Any) -> None:
    empty = query_pb2.GetQueryStatusResponse()
    _, future = answer(
        channel, SERVICES[2], "GetQueryStatus", client.get_query_status, empty, grpc.StatusCode.UNAVAILABLE, "x: Connection refused"
    )
    with pytest.raises(UnavailableError, match=r"q:3 \(Connection refused\)") as caught:
        future.result()
    assert caught.value.reason == ""


def test_an_error_of_another_domain_has_no_reason(client: Client, channel: Any) -> None:
    foreign = status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED, message="proxy")
    trailers = (("grpc-status-details-bin", foreign.SerializeToString()),)
    empty = query_pb2.GetQueryStatusResponse()
    _, future = answer(
        channel, SERVICES[2], "GetQueryStatus", client.get_query_status, empty, grpc.StatusCode.RESOURCE_EXHAUSTED, "proxy", trailers
    )
    with pytest.raises(OverloadedError, match="proxy"):
        future.result()


def test_details_that_are_none_leave_the_code_and_the_words_of_grpc(client: Client, channel: Any) -> None:
    trailers = (("grpc-status-details-bin", b"\xff of a proxy"),)
    empty = query_pb2.GetQueryStatusResponse()
    _, future = answer(
        channel, SERVICES[2], "GetQueryStatus", client.get_query_status, empty, grpc.StatusCode.RESOURCE_EXHAUSTED, "proxy", trailers
    )
    with pytest.raises(OverloadedError, match="proxy") as caught:
        future.result()
    assert caught.value.reason == ""


def test_pages_are_followed_to_the_end(client: Client, channel: Any) -> None:
    future = in_thread(lambda: [pattern.pattern_id for pattern in client.patterns()])
    for token, wanted in (("t", ""), ("", "t")):
        _, request, rpc = channel.take_unary_unary(method(SERVICES[2], "ListPatterns"))
        assert request.page_token == wanted
        page = query_pb2.ListPatternsResponse(patterns=[query_pb2.Pattern(pattern_id=len(wanted))], next_page_token=token)
        rpc.terminate(page, (), grpc.StatusCode.OK, "")
    assert future.result() == [0, 1]


def test_pages_of_records_and_of_fields_are_followed_to_the_end(client: Client, channel: Any) -> None:
    future = in_thread(lambda: [record.pattern_id for record in client.logs(order="oldest", page_size=7)])
    for token, wanted in (("t", ""), ("", "t")):
        _, request, rpc = channel.take_unary_unary(method(SERVICES[2], "ListLogs"))
        assert (request.page_token, request.page_size, request.order) == (wanted, 7, query_pb2.LOG_ORDER_OLDEST_FIRST)
        page = query_pb2.ListLogsResponse(records=[treering.StoredRecord(pattern_id=len(wanted))], next_page_token=token)
        rpc.terminate(page, (), grpc.StatusCode.OK, "")
    assert future.result() == [0, 1]
    future = in_thread(lambda: [field.record_count for field in client.fields()])
    _, request, rpc = channel.take_unary_unary(method(SERVICES[2], "ListFields"))
    assert request.page_size == 1_000
    rpc.terminate(query_pb2.ListFieldsResponse(fields=[query_pb2.FieldSummary(record_count=3)]), (), grpc.StatusCode.OK, "")
    assert future.result() == [3]


def test_leaving_an_iteration_cancels_the_call(client: Client, channel: Any) -> None:
    records = client.tail()
    future = in_thread(lambda: next(records))
    _, _, rpc = channel.take_unary_stream(method(SERVICES[2], "TailLogs"))
    rpc.send_response(query_pb2.TailLogsResponse(records=[treering.StoredRecord(pattern_id=5)]))
    assert future.result().pattern_id == 5
    records.close()
    rpc.cancelled()


def test_deadlines(client: Client) -> None:
    unary, endless = (inspect.getattr_static(Client, name) for name in ("search_logs", "tail_logs"))
    assert (unary.deadline(None, 7), unary.deadline(2, 7), unary.deadline(math.inf, 7)) == (7, 2, None)
    assert (endless.deadline(None, 7), endless.deadline(2, 7)) == (None, 2)
    assert calls.execute_sql("select 1", timeout_ms=60_000).timeout == 70


def test_addresses_come_from_the_environment() -> None:
    found = Endpoints.from_environment({"TREERING_QUERY": "h:1", "TREERING_EMBED": ""})
    assert found == Endpoints("127.0.0.1:4701", "127.0.0.1:4702", "h:1")


def test_sql_rows_keep_nanoseconds(client: Client, channel: Any) -> None:
    sink = pa.BufferOutputStream()
    batch = pa.record_batch({"t": pa.array([1_234_567_891], pa.timestamp("ns")), "n": pa.array([7])})
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    raw = sink.getvalue().to_pybytes()
    future = in_thread(lambda: client.sql("select 1"))
    _, _, rpc = channel.take_unary_stream(method(SERVICES[2], "ExecuteSql"))
    rpc.send_response(query_pb2.ExecuteSqlResponse(arrow_ipc=raw[:50]))
    rpc.send_response(query_pb2.ExecuteSqlResponse(arrow_ipc=raw[50:], summary=query_pb2.SqlSummary(row_count=1)))
    rpc.terminate((), grpc.StatusCode.OK, "")
    result = future.result()
    assert result.rows() == [{"t": 1_234_567_891, "n": 7}]
    assert result.summary.row_count == 1


class FakeQuery(query_pb2_grpc.QueryServiceServicer):
    """Three pages of patterns, a result of SQL in two parts, a tail that breaks."""

    def ListPatterns(self, request: query_pb2.ListPatternsRequest, context: grpc.ServicerContext) -> query_pb2.ListPatternsResponse:
        number = int(request.page_token or 0)
        pattern = query_pb2.Pattern(pattern_id=number, text=f"{request.page_size}")
        return query_pb2.ListPatternsResponse(patterns=[pattern], next_page_token=str(number + 1) if number < 2 else "")

    def ExecuteSql(self, request: query_pb2.ExecuteSqlRequest, context: grpc.ServicerContext) -> Iterator[query_pb2.ExecuteSqlResponse]:
        yield query_pb2.ExecuteSqlResponse(arrow_ipc=b"one ")
        yield query_pb2.ExecuteSqlResponse(arrow_ipc=b"two", summary=query_pb2.SqlSummary(row_count=2))

    def TailLogs(self, request: query_pb2.TailLogsRequest, context: grpc.ServicerContext) -> Iterator[query_pb2.TailLogsResponse]:
        yield query_pb2.TailLogsResponse(records=[treering.StoredRecord(pattern_id=1), treering.StoredRecord(pattern_id=2)])
        yield query_pb2.TailLogsResponse()
        yield query_pb2.TailLogsResponse(records=[treering.StoredRecord(pattern_id=3)])
        if request.backlog:
            context.abort(grpc.StatusCode.UNAVAILABLE, "gone")


@pytest.fixture
def asking(connect: Connect) -> Iterator[Client | LoopClient]:
    server = Serving(lambda grpc_server: query_pb2_grpc.add_QueryServiceServicer_to_server(FakeQuery(), grpc_server))
    with connect(server.endpoints) as made:
        yield made
    server.stop()


def test_all_pages_are_one_iteration(asking: Client | LoopClient) -> None:
    assert [(pattern.pattern_id, pattern.text) for pattern in ask(asking, "patterns")] == [(0, "1000"), (1, "1000"), (2, "1000")]
    assert [pattern.text for pattern in ask(asking, "patterns", page_size=7)] == ["7"] * 3


def test_a_tail_is_one_iteration_over_records_which_ends_with_its_connection(asking: Client | LoopClient) -> None:
    assert [record.pattern_id for record in ask(asking, "tail")] == [1, 2, 3]
    assert len(ask(asking, "tail_logs")) == 3
    with pytest.raises(UnavailableError, match="nobody answers"):
        ask(asking, "tail", backlog=1)


def test_a_result_of_sql_is_all_its_parts(asking: Client | LoopClient) -> None:
    result = ask(asking, "sql", "select 1")
    assert (result.arrow_ipc, result.summary.row_count) == (b"one two", 2)


def test_a_client_meets_typed_errors(connect: Connect, serving: Serving) -> None:
    with connect(serving.endpoints) as client:
        assert ask(client, "get_ingest_status").log_id
        for method, arguments in (("search_logs", ["x"]), ("tail", []), ("patterns", []), ("sql", ["select 1"])):
            with pytest.raises(treering.UnsupportedError):
                ask(client, method, *arguments)
