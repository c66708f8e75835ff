"""Where the services are, and connections to them."""

import json
import os
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

import grpc

from treering.addresses import check_address
from treering.limits import MAX_MESSAGE_BYTES

READS = {
    "treering.v1.QueryService": (
        "AggregateLogs",
        "ComparePatterns",
        "ExecuteSql",
        "ExportLogs",
        "GetLogContext",
        "GetPattern",
        "GetQueryStatus",
        "ListFieldValues",
        "ListFields",
        "ListLogs",
        "ListPatterns",
        "SearchLogs",
        "TailLogs",
        "WatchPatterns",
    ),
    "treering.v1.EmbedService": ("EmbedTexts", "GetEmbedStatus", "SearchPatterns"),
    "treering.v1.EmbedAdminService": ("DigestIndex", "ScorePatterns"),
    "treering.v1.QueryAdminService": ("DigestStore", "VerifyStore"),
}
"""Rpcs that change nothing, by service: gRPC asks again by itself when nobody answers. Whether a change was made before its answer was lost
cannot be known here, so changes are repeated by whoever asked for them, and uploads resume by sequence."""

_SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [{"service": service, "method": method} for service, methods in READS.items() for method in methods],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}

CHANNEL_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.enable_http_proxy", 0),  # or `http_proxy` of the environment sends every record through a stranger, in clear
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.enable_retries", 1),
    ("grpc.use_local_subchannel_pool", 1),  # a new channel is a new connection
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
)
"""Never through a proxy: who wants one makes the channel, and gives it to the client.
Large messages pass; a dead peer is noticed within 40 s; a service that was restarted is found again within 2 s."""


@dataclass(frozen=True)
class Endpoints:
    """Where the three services answer, each as host:port.

    Raises:
        ValueError: One of them is no address; the message names the field.
    """

    ingest: str = "127.0.0.1:4701"
    """Takes records in."""
    embed: str = "127.0.0.1:4702"
    """Knows patterns by their meaning."""
    query: str = "127.0.0.1:4703"
    """Answers questions."""

    def __post_init__(self) -> None:
        for name, value in zip(("ingest", "embed", "query"), self.all(), strict=True):
            try:
                check_address(value)
            # With the name of the variable's field: the address alone does not say which of three is wrong.
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Reads TREERING_INGEST, TREERING_EMBED and TREERING_QUERY; what is not set has its default."""
        values = os.environ if environment is None else environment
        names = {"ingest": "TREERING_INGEST", "embed": "TREERING_EMBED", "query": "TREERING_QUERY"}
        # Empty counts as not set, as shells and container files write it.
        return cls(**{field: values[name] for field, name in names.items() if values.get(name)})

    def all(self) -> tuple[str, str, str]:
        """The three addresses: ingest, embed, query."""
        return self.ingest, self.embed, self.query


def connect(address: str) -> grpc.Channel:
    """A channel for blocking calls. It connects with the first call."""
    return grpc.insecure_channel(address, options=CHANNEL_OPTIONS)


def connect_async(address: str) -> grpc.aio.Channel:
    """A channel for asyncio. It connects with the first call."""
    return grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)


_CLOSE_S = 2.0
"""How long connections may take to close, seconds, all of them together."""


def close_all(channels: Iterable[grpc.Channel]) -> None:
    """Closes connections; running calls fail."""
    # On threads that nothing waits for at the end of the process: gRPC waits for ever for a call that Ctrl-C interrupted while it was made,
    # because the thread that would see its end was never started.
    closing = [threading.Thread(target=channel.close, name="close", daemon=True) for channel in channels]
    for each in closing:
        each.start()
    end = time.monotonic() + _CLOSE_S
    for each in closing:
        each.join(max(0.0, end - time.monotonic()))
