"""Connections from one service to another."""

import grpc

from treering_runtime.limits import MAX_MESSAGE_BYTES

INTERNAL_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.enable_http_proxy", 0),  # or `http_proxy` of the environment sends every record through a stranger, in clear
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_timeout_ms", 10_000),
)
"""What every connection between services has; who opens one adds its own."""


def open_channel(address: str, *options: tuple[str, int]) -> grpc.aio.Channel:
    """A channel to a service at host:port, with further options of gRPC. It connects with the first call, and never through a proxy."""
    return grpc.aio.insecure_channel(address, options=(*INTERNAL_OPTIONS, *options))
