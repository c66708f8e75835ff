"""Both ends of the inner plane speak one version, or refuse each other in words."""

from typing import Any

import grpc
import pytest

from tests.inner.test_planes import INNER, called, service
from treering.errors import TreeringError, UnsupportedError, from_call
from treering.inner import version
from treering.inner.addresses import InnerAddress
from treering.inner.channels import connect_async
from treering.inner.places import SocketPlace

__all__ = ["service"]

UNARY = [(name, method) for name, method in INNER if not method.client_streaming]


async def refusal(channel: grpc.aio.Channel, name: Any, method: Any) -> TreeringError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await called(channel, name, method, b"")
    return from_call(caught.value, "here")


@pytest.mark.parametrize(("agent", "said"), [("", "no version"), ("treering-inner/7", "version 7"), ("treering-inner/x", "no version")])
async def test_a_caller_of_another_version_is_refused_whatever_it_asks(service: Any, agent: str, said: str) -> None:
    name, planes = service
    ours = {"ingest": {"IngestAdminService"}, "embed": {"EmbedAdminService", "SinkService"}}[name]
    place = SocketPlace(InnerAddress.parse(planes.inner.address).path)
    options = (("grpc.secondary_user_agent", agent), ("grpc.use_local_subchannel_pool", 1))
    async with grpc.aio.insecure_channel(place.target, options=options) as channel:
        for rpc_service, method in UNARY:
            if rpc_service.rpartition(".")[2] not in ours:
                continue
            error = await refusal(channel, rpc_service, method)
            assert isinstance(error, UnsupportedError), (method.name, error)
            assert (error.reason, error.code) == ("VERSION_MISMATCH", grpc.StatusCode.FAILED_PRECONDITION)
            assert error.message == f"the caller speaks {said} of the inner plane, this side version 1; " + REMEDY
            assert error.metadata["expected_version"] == "1"
    place.close()


REMEDY = "run one release of all Treering services and of the command line"


async def test_a_channel_of_this_release_is_taken(service: Any) -> None:
    name, planes = service
    if name == "embed":
        async with connect_async(planes.inner.address) as channel:
            assert not [part async for part in channel.unary_stream("/treering.v1.SinkService/ListQuarantine")(b"", timeout=10)]


@pytest.mark.parametrize(
    ("agent", "number"),
    [
        (f"grpc-python/1.9 {version.AGENT}", version.PROTOCOL_VERSION),
        (f"{version.AGENT} grpc-c/1", version.PROTOCOL_VERSION),
        ("treering-inner/42", 42),
        ("xtreering-inner/1", 0),
        ("treering-inner/", 0),
        ("treering-inner/12345678901", 0),
        ("", 0),
    ],
)
def test_the_version_is_a_part_of_the_user_agent(agent: str, number: int) -> None:
    assert version.version_said((("other", "treering-inner/9"), ("user-agent", agent))) == number
    assert version.version_said(None) == 0
