"""Requests by strangers: each is answered in the contract's words within a second, and nobody else waits."""

import asyncio
import time

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor

from tests.hostile import ALL, SEED, chance
from tests.hostile_requests import hostile_request
from tests.query.conftest import Fill, Serving
from treering_query.request_limits import LIMITS
from treering_runtime.request_limits import RequestLimits

pytestmark = pytest.mark.time_limit(3_600 if ALL else 300)

SERVICE = "treering.v1.QueryService"
METHODS = list(descriptor_pool.Default().FindServiceByName(SERVICE).methods)
REQUESTS = 200 if ALL else 12
"""For each rpc."""

PATIENCE_S = 1.0
"""How long an answer, and anybody else's, may take, seconds."""

OURS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}
"""What only a fault of ours is answered with."""

ASKED_S = 0.5
"""The deadline of a request, seconds: many wait for a position that never comes."""


async def answer(channel: grpc.aio.Channel, method: MethodDescriptor, raw: bytes) -> grpc.aio.AioRpcError | None:
    """The status of one call; of a stream, that of its first message."""
    call = (channel.unary_stream if method.server_streaming else channel.unary_unary)(f"/{SERVICE}/{method.name}")(raw, timeout=ASKED_S)
    try:
        await (call.read() if method.server_streaming else call)  # type: ignore[misc]
        call.cancel()
    except grpc.aio.AioRpcError as error:
        return error
    return None


async def probe(channel: grpc.aio.Channel, ended: asyncio.Event) -> float:
    """Asks for the status all the time; the longest wait, seconds."""
    ask, longest = channel.unary_unary(f"/{SERVICE}/GetQueryStatus"), 0.0
    while not ended.is_set():
        started = time.perf_counter()
        await ask(b"")
        longest = max(longest, time.perf_counter() - started)
    return longest


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
async def test_whatever_is_asked_is_answered_in_words_and_nobody_waits(serving: Serving, fill: Fill, method: MethodDescriptor) -> None:
    limits = RequestLimits(LIMITS)
    async with serving() as (store, client):
        await fill(store, 0, 100)
        address = client.endpoints.query
        async with grpc.aio.insecure_channel(address) as channel:
            ended = asyncio.Event()
            prober = asyncio.create_task(probe(channel, ended))
            for number in range(REQUESTS):
                raw = hostile_request(chance(method.name, number), limits, method.input_type)
                started = time.perf_counter()
                error = await answer(channel, method, raw)
                assert time.perf_counter() - started < ASKED_S + PATIENCE_S, (SEED, number)
                assert error is None or error.code() not in OURS, (SEED, number, error.details())
                assert error is None or "class" not in error.details()
            ended.set()
            assert await prober < PATIENCE_S
