"""Every field of every request at its limit and beyond, on the real services: answered at once, by name, and memory is back at rest."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import grpc
import psutil
import pytest
from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from tests.hostile_requests import Bad, at_the_edges, hostile_request, services_of, table_of
from tests.system.instance import Instance, Service
from tests.system.tidying import HELD
from treering import Client, LogRecord
from treering.inner.channels import connect_async
from treering.v1.batch_pb2 import LogBatch
from treering.v1.ingest_pb2 import UploadLogsRequest
from treering_runtime.errors import ServiceError
from treering_runtime.limits import MAX_MESSAGE_BYTES
from treering_runtime.request_limits import RequestLimits, row_name

ALL = bool(os.environ.get("TREERING_ALL_HOSTILE"))
SEEDS = 200 if ALL else 0
"""Random requests for each rpc besides; `make hostile` sends other ones each time."""
FIRST = int(os.environ.get("TREERING_HOSTILE_SEED", "0"))

pytestmark = [pytest.mark.system, pytest.mark.time_limit(3_600 if ALL else 900)]

PATIENCE_S = 1.0
"""How long an answer, and anybody else's beside it, may take, seconds: the best of `TRIES`. On a machine with more to do than it
has cores for, so much of the service's processor time, as long as the answer comes within `BUSY_PATIENCE_S`."""
BUSY_PATIENCE_S = 20.0
TRIES = 4
WAITING_S = 0.03
"""The deadline of a request that waits for what never comes: no answer is the right one."""
LARGE_BYTES = 64 * 1024
HELD_BYTES = 24 * 1024 * 1024
"""What a process may hold more than before a hundred large requests: less than two of them."""
RESIDENT_BYTES = 96 * 1024 * 1024
"""What may be in memory more than before: of what 16 MiB at a time went through glibc keeps 40 to 80 MiB, after ten times as much, too."""

TIDYING = Path(__file__).parent / "tidying.py"
OURS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}
"""What only a fault of ours is answered with."""
SILENT = {"TailLogs"}
"""Streams that may be right to say nothing for long."""


class Attack:
    """Everything that one service is asked, and what is wrong with its answers."""

    def __init__(self, service: Service, public: grpc.aio.Channel, inner: grpc.aio.Channel) -> None:
        self.service, self.public, self.inner = service, public, inner
        self.process = psutil.Process(service.process.pid)
        self.findings = []
        self.slowest_s = 0.0

    async def run(self) -> None:
        cases = [(self._channel(plane), contract, method, bad) for plane, contract, method, bad in _cases(self.service.name)]
        small = [case for case in cases if len(case[-1].raw) <= LARGE_BYTES]
        large = [case for case in cases if len(case[-1].raw) > LARGE_BYTES]
        await self._ask_all(small)
        at_rest = await self._memory()
        await self._ask_all(large)
        after = await self._memory()
        resident, held = (now - before for now, before in zip(after, at_rest, strict=True))
        words = f"{resident / 2**20:+.0f} MiB in memory, {held / 2**20:+.0f} MiB of it held"
        if resident > RESIDENT_BYTES or held > HELD_BYTES:
            self.findings.append(f"{self.service.name} is not at rest: {words}")
        sys.stderr.write(f"{self.service.name}: {len(cases)} requests, slowest {self.slowest_s:.2f} s, {words}\n")

    def _channel(self, plane: str) -> grpc.aio.Channel:
        return self.inner if plane == "inner" else self.public

    async def _ask_all(self, cases: list[tuple[grpc.aio.Channel, ServiceDescriptor, MethodDescriptor, Bad]]) -> None:
        for channel, contract, method, bad in cases:
            waits = []
            for _ in range(TRIES):
                ended = asyncio.Event()
                neighbour = asyncio.create_task(self._probe(ended))
                used = self._processor_s()
                took, problem = await _asked(channel, contract, method, bad)
                ended.set()
                waited = max(took, await neighbour)
                is_excused = PATIENCE_S <= waited < BUSY_PATIENCE_S and os.getloadavg()[0] > (os.cpu_count() or 1)
                waits.append(self._processor_s() - used if is_excused else waited)
                if problem or waits[-1] < PATIENCE_S:
                    break
            self.slowest_s = max(self.slowest_s, min(waits))
            if problem or min(waits) >= PATIENCE_S:
                self.findings.append(f"{method.name}, {bad.what}: {problem or f'{min(waits):.1f} s'}")

    def _processor_s(self) -> float:
        times = self.process.cpu_times()
        return times.user + times.system

    async def _probe(self, ended: asyncio.Event) -> float:
        """Asks for the state of the service all the time; the longest wait, seconds."""
        longest = 0.0
        while not ended.is_set():
            longest = max(longest, await self._state())
        return longest

    async def _state(self) -> float:
        started = time.perf_counter()
        name = self.service.name.capitalize()
        await self.public.unary_unary(f"/treering.v1.{name}Service/Get{name}Status")(b"")
        return time.perf_counter() - started

    async def _memory(self) -> tuple[int, int]:
        """What is in memory, and what of it the process holds, when it has given back what it has freed."""
        for _ in range(2):  # what the first collection finds may have to be closed by the event loop
            self.process.send_signal(signal.SIGUSR1)
            await self._state()  # its signals were handled before it answered
        return self.process.memory_info().rss, int(self.service.last_line().removeprefix(HELD))


def _cases(name: str) -> Iterator[tuple[str, ServiceDescriptor, MethodDescriptor, Bad]]:
    """Every request for one service: on which plane, of which contract and rpc. A row of the table gets its 16 MiB once, or in each rpc."""
    filled = set()
    for plane, contract in services_of(name):
        limits = table_of(contract)
        for method in contract.methods:
            for bad in at_the_edges(limits, method.input_type):
                row = row_name(bad.path[-1]) if bad.path and len(bad.raw) > MAX_MESSAGE_BYTES // 2 else ""
                if ALL or not row or row not in filled:
                    filled.add(row)
                    yield plane, contract, method, bad
            for seed in range(FIRST, FIRST + SEEDS):
                raw = hostile_request(Random(f"{method.name} {seed}"), limits, method.input_type)
                yield plane, contract, method, Bad(f"seed {seed}", [], raw)


async def _asked(channel: grpc.aio.Channel, contract: ServiceDescriptor, method: MethodDescriptor, bad: Bad) -> tuple[float, str]:
    """How long the answer took, and what is wrong with it."""
    expected = _refusal(table_of(contract), method.input_type, bad.raw)
    is_silent = expected is None and (bad.waits or method.name in SILENT)
    started = time.perf_counter()
    error = await _answer(channel, contract, method, bad.raw, WAITING_S if is_silent else 2 * BUSY_PATIENCE_S)
    took = time.perf_counter() - started
    is_work = expected is None and not bad.path  # the largest legal request may be much to do; nobody else waits for it
    return 0.0 if is_work else took, _problem(error, expected, bad, is_silent)


async def _answer(
    channel: grpc.aio.Channel, contract: ServiceDescriptor, method: MethodDescriptor, raw: bytes, timeout_s: float
) -> grpc.aio.AioRpcError | None:
    """The error of one call; of a stream, that of its first message."""
    kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
    call = getattr(channel, kind)(f"/{contract.full_name}/{method.name}")(
        iter([raw]) if method.client_streaming else raw, timeout=timeout_s
    )
    try:
        await (call.read() if method.server_streaming else call)
    except grpc.aio.AioRpcError as error:
        return error
    finally:
        call.cancel()
    return None


def _refusal(limits: RequestLimits, kind: Descriptor, raw: bytes) -> Any:
    """What the table of limits says to a request: an error of the contract, another one where the bytes are no message, or nothing."""
    if len(raw) > MAX_MESSAGE_BYTES:
        return OverflowError()
    try:
        limits.check_wire(raw, kind)
        limits.check(GetMessageClass(kind).FromString(raw))
    except (ServiceError, DecodeError, ValueError, IndexError) as error:
        return error
    return None


def _problem(error: grpc.aio.AioRpcError | None, expected: Any, bad: Bad, is_silent: Any | bool) -> str:
    code, words = (error.code(), error.details() or "") if error else (grpc.StatusCode.OK, "")
    if code in OURS or "class" in words:
        return f"{code.name} {words}"
    if expected is None:
        return "no answer" if code is grpc.StatusCode.DEADLINE_EXCEEDED and not is_silent else ""
    if isinstance(expected, OverflowError):
        return "" if code is grpc.StatusCode.RESOURCE_EXHAUSTED and str(MAX_MESSAGE_BYTES) in words else f"{code.name} {words}"
    if words.startswith(f"batch: {len(bad.raw)} bytes are over"):  # the whole is too large, whichever field makes it so
        return ""
    named = expected.message if isinstance(expected, ServiceError) else bad.path[-1].name if bad.path else ""
    right = named in words
    return "" if right and code is grpc.StatusCode.INVALID_ARGUMENT else f"{code.name} {words!r}, not {expected}"


def send_some(endpoints: Any) -> None:
    with Client(endpoints) as client:
        records = [LogRecord(service=f"s{number % 3}", message=f"request {number} took {number} ms") for number in range(300)]
        client.upload_logs(iter([UploadLogsRequest(batch=LogBatch(records=records))]))


async def test_every_field_at_its_edges_is_answered_by_name_and_at_once_and_memory_comes_back(tmp_path: Path) -> None:
    instance = Instance(tmp_path)
    services = (instance.embed, instance.query, instance.ingest)
    for service in services:
        service.launcher = [str(TIDYING)]
    try:
        for service in services:
            assert await service.start()
        await asyncio.to_thread(send_some, instance.endpoints)
        findings = []
        for service in services:
            async with (
                grpc.aio.insecure_channel(service.address, NO_LIMIT) as public,
                connect_async(service.inner, None, NO_LIMIT) as inner,
            ):
                attack = Attack(service, public, inner)
                await attack.run()
                findings += attack.findings
        logs = {service.name: (tmp_path / f"{service.name}.log").read_text() for service in services}
        findings += [f"{name} logged: {text[text.index('Traceback') :][:500]}" for name, text in logs.items() if "Traceback" in text]
        assert not findings, "\n".join([f"{len(findings)} findings", *findings[:60]])
    finally:
        await instance.end()


NO_LIMIT = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1), ("grpc.enable_http_proxy", 0))
