"""Callers that hang up: lists of the quarantine, retries, checks, exports and digests that are broken off at random moments.

Nobody looks at their answers. They are here because a call that goes away in the middle must change nothing.
"""

import random
import threading
from collections.abc import Callable, Iterator
from typing import Any, Self

import grpc

from tests.crash.services import Services
from treering.inner.channels import connect
from treering.v1 import admin_pb2, query_pb2, sink_pb2
from treering.v1.admin_pb2_grpc import QueryAdminServiceStub
from treering.v1.query_pb2_grpc import QueryServiceStub
from treering.v1.sink_pb2_grpc import SinkServiceStub

_DEADLINES_S = (0.02, 0.4)
_MOST_MESSAGES = 50
"""Of an answer that is read; the rest stays unread when the call is cancelled."""


class Nag(threading.Thread):
    """One caller: calls with a short deadline, or cancels, again and again until it is stopped.

    Args:
        services: Whom it calls.
        seed: Decides what is called, and when it is broken off.
    """

    def __init__(self, services: Services, seed: str) -> None:
        super().__init__(name=f"nag-{seed}", daemon=True)
        self.broken_off = self.ended = 0
        self._draw = random.Random(seed)
        self._stopped = threading.Event()
        public = grpc.insecure_channel(services.endpoints.query)
        query, embed = (connect(services.inner(name)) for name in ("query", "embed"))
        self._channels = [public, query, embed]
        self._calls = _calls(QueryServiceStub(public), QueryAdminServiceStub(query), SinkServiceStub(query), SinkServiceStub(embed))

    def run(self) -> None:
        """Calls until `stop`."""
        while not self._stopped.is_set():
            begin = self._draw.choice(self._calls)
            call = begin(timeout=self._draw.uniform(*_DEADLINES_S))
            if self._draw.random() < 0.3:
                self._stopped.wait(self._draw.uniform(0, _DEADLINES_S[1]))
                call.cancel()
            self._read(call)

    def _read(self, call: Iterator[object]) -> None:
        try:
            for _ in zip(range(_MOST_MESSAGES), call, strict=False):
                pass
            call.cancel()
            self.ended += 1
        except grpc.RpcError:
            self.broken_off += 1

    def stop(self) -> None:
        """Ends it and waits."""
        self._stopped.set()
        self.join()
        for channel in self._channels:
            channel.close()


def _calls(query: QueryServiceStub, admin: QueryAdminServiceStub, *sinks: SinkServiceStub) -> list[Callable[..., Any]]:
    def lists(sink: SinkServiceStub) -> Callable[..., Any]:
        return lambda timeout: sink.ListQuarantine(sink_pb2.ListQuarantineRequest(), timeout=timeout)

    def retries(sink: SinkServiceStub) -> Callable[..., Any]:
        return lambda timeout: sink.RetryQuarantined(sink_pb2.RetryQuarantinedRequest(), timeout=timeout)

    return [
        *(made(sink) for sink in sinks for made in (lists, lists, retries)),
        lambda timeout: admin.VerifyStore(admin_pb2.VerifyStoreRequest(), timeout=timeout),
        lambda timeout: query.ExportLogs(query_pb2.ExportLogsRequest(), timeout=timeout),
        lambda timeout: query.ExecuteSql(query_pb2.ExecuteSqlRequest(query="select * from logs"), timeout=timeout),
    ]


class Nags:
    """Some of them, from the first cycle to the last; a context manager."""

    def __init__(self, services: Services, seed: int, count: int) -> None:
        self._nags = [Nag(services, f"{seed}.{number}") for number in range(count)]

    def __enter__(self) -> Self:
        for nag in self._nags:
            nag.start()
        return self

    def __exit__(self, *_: object) -> None:
        for nag in self._nags:
            nag.stop()

    def __str__(self) -> str:
        """What they did, for people."""
        return f"calls broken off {sum(nag.broken_off for nag in self._nags):,}, ended {sum(nag.ended for nag in self._nags):,}"
