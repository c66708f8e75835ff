"""Asks a service for its health, for supervisors that start a command: exit code 0 when it serves, 1 when it does not.

python -m treering_runtime.healthcheck HOST:PORT|unix:PATH [SERVICE]
"""

import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from treering.inner import InnerPlaneError
from treering.inner.channels import connect
from treering_runtime.channels import INTERNAL_OPTIONS

DEADLINE_S = 3.0
"""How long the answer may take, seconds: shorter than the interval at which supervisors ask."""

USAGE = "usage: python -m treering_runtime.healthcheck HOST:PORT|unix:PATH [SERVICE]\n"


def check(address: str, service: str = "") -> str:
    """The health of one service (full name; "" for the whole process): "SERVING", or why it is not."""
    request = health_pb2.HealthCheckRequest(service=service)
    try:
        with _connect(address) as channel:
            # `wait_for_ready`: a service that is just binding its port counts as slow, not as dead, until the deadline.
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=DEADLINE_S, wait_for_ready=True)
    except grpc.RpcError as error:
        return f"{error.code().name}: {error.details()}"
    except (InnerPlaneError, OSError) as error:
        return f"UNAVAILABLE: {error}"
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


def _connect(address: str) -> grpc.Channel:
    # Without TLS: the public port has none, and the inner plane of one host is a socket.
    is_socket = address.startswith("unix:")
    return connect(address, options=INTERNAL_OPTIONS) if is_socket else grpc.insecure_channel(address, options=INTERNAL_OPTIONS)


def main(arguments: list[str]) -> int:
    """Prints the health; 0 when it is SERVING, 1 when not, 2 for a wrong call."""
    if not 1 <= len(arguments) <= 2:
        sys.stderr.write(USAGE)
        return 2
    health = check(*arguments)
    sys.stdout.write(f"{health}\n")
    return 0 if health == "SERVING" else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
