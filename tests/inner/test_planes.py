"""What each plane of a service serves, by the contract's descriptors."""

from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry

from tests.cancelling import drained
from tests.hostile import ALL, SEED, chance
from tests.hostile_requests import hostile_request
from treering.inner.channels import connect_async
from treering.v1 import admin_pb2, sink_pb2
from treering_embed.application import Application
from treering_embed.settings import EmbedSettings
from treering_ingest.process import IngestProcess
from treering_ingest.settings import IngestSettings
from treering_runtime import caller
from treering_runtime.planes import Planes
from treering_runtime.request_limits import RequestLimits
from treering_runtime.telemetry import new_registry

REQUESTS = 200 if ALL else 3
INNER = [
    (service.full_name, method)
    for module in (admin_pb2, sink_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
"""Every rpc that no port of people and programs may serve."""


def called(channel: grpc.aio.Channel, service: str, method: MethodDescriptor, raw: bytes) -> Coroutine[Any, Any, None] | Any:
    kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
    call = getattr(channel, kind)(f"/{service}/{method.name}")(iter([raw]) if method.client_streaming else raw, timeout=10)
    return drained(call) if method.server_streaming else call


async def code_of(channel: grpc.aio.Channel, service: str, method: MethodDescriptor, raw: bytes = b"") -> grpc.StatusCode:
    """The status of one call. A stream that the server ends at once may meet the client while it still sends: then it is asked again."""
    for _ in range(20):
        try:
            await called(channel, service, method, raw)
        except grpc.aio.AioRpcError as error:
            if "Internal error from Core" not in (error.details() or ""):
                return error.code()
        else:
            return grpc.StatusCode.OK
    return grpc.StatusCode.INTERNAL


FREE = {"listen": "127.0.0.1:0", "metrics_listen": "127.0.0.1:0", "drain_seconds": 0}


@pytest.fixture(params=["ingest", "embed"])
async def service(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Any, Planes]]:
    """Its name and its planes; query is looked at as a process, in `tests/system`."""
    if request.param == "ingest":
        process = IngestProcess(IngestSettings(data_dir=tmp_path, sinks="", **FREE), new_registry())
        await process.start()
        yield request.param, process.planes
        await process.stop(0)
    else:
        application = Application(EmbedSettings(data_dir=tmp_path, **FREE), CollectorRegistry())
        await application.start()
        yield request.param, application.planes
        await application.stop(0)


async def test_no_inner_rpc_is_served_where_people_ask(service: tuple[Any, Planes]) -> None:
    _, planes = service
    async with grpc.aio.insecure_channel(planes.public.address) as channel:
        for name, method in INNER:
            for number in range(REQUESTS):
                raw = hostile_request(chance("planes", method.name, number), RequestLimits(), method.input_type)
                assert await code_of(channel, name, method, raw) is grpc.StatusCode.UNIMPLEMENTED, (name, method.name, SEED, number)


async def test_the_inner_plane_serves_what_is_its_services(service: tuple[Any, Planes]) -> None:
    name, planes = service
    ours = {"ingest": {"IngestAdminService"}, "embed": {"EmbedAdminService", "SinkService"}}[name]
    async with connect_async(planes.inner.address) as channel:
        for rpc_service, method in INNER:
            code = await code_of(channel, rpc_service, method, b"\xff")
            is_served = rpc_service.rpartition(".")[2] in ours
            assert (code is grpc.StatusCode.UNIMPLEMENTED) != is_served, (rpc_service, method.name)


async def test_a_request_without_reason_is_refused_in_words_on_the_inner_plane(service: tuple[Any, Planes]) -> None:
    """The boundary holds there, too."""
    name, planes = service
    own = {"ingest": "IngestAdminService/DigestLog", "embed": "EmbedAdminService/ForgetPatterns"}[name]
    async with connect_async(planes.inner.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(f"/treering.v1.{own}")(b"\xff", timeout=10)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "not a valid request" in caught.value.details()


async def test_health_of_each_plane_names_its_own_services(service: tuple[Any, Planes]) -> None:
    name, planes = service
    public = {"ingest": "treering.v1.IngestService", "embed": "treering.v1.EmbedService"}[name]
    inner = {"ingest": "treering.v1.IngestAdminService", "embed": "treering.v1.SinkService"}[name]

    async def known(channel: grpc.aio.Channel, asked: str) -> grpc.StatusCode:
        return await code_of(channel, "grpc.health.v1.Health", CHECK, health_pb2.HealthCheckRequest(service=asked).SerializeToString())

    async with grpc.aio.insecure_channel(planes.public.address) as outside, connect_async(planes.inner.address) as inside:
        assert await known(outside, public) is await known(inside, inner) is grpc.StatusCode.OK
        assert await known(outside, inner) is grpc.StatusCode.NOT_FOUND
        answer = await health_pb2_grpc.HealthStub(inside).Check(health_pb2.HealthCheckRequest(service=inner))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


CHECK = descriptor_pool.Default().FindServiceByName("grpc.health.v1.Health").methods_by_name["Check"]


async def test_callers_on_the_inner_plane_are_ourselves(service: tuple[Any, Planes]) -> None:
    _, planes = service
    seen = []

    async def who(request: Any, context: Any) -> bytes:
        seen.append(caller.current())
        return b""

    for server in (planes.public, planes.inner):
        handler = grpc.unary_unary_rpc_method_handler(who, None, None)
        server.grpc.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("who.Is", {"There": handler}),))
    async with grpc.aio.insecure_channel(planes.public.address) as outside, connect_async(planes.inner.address) as inside:
        for channel in (outside, inside):
            await channel.unary_unary("/who.Is/There")(b"")
            await channel.unary_unary("/who.Is/There")(b"", metadata=((caller.HANDED_ON, "ipv4:10.1.2.3"),))
    assert seen[2] == caller.OURSELVES
    assert seen[0] == seen[1] not in {caller.OURSELVES, "ipv4:10.1.2.3"}  # only the inner plane believes for whom is asked
    assert seen[3] == "ipv4:10.1.2.3"
