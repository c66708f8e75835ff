import contextlib
import http.client
import socket
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.hostile import ALL, SEED, chance
from tests.patience import PATIENCE_S
from treering_runtime import metrics_server
from treering_runtime.errors import AddressTakenError, StartError
from treering_runtime.limits import MAX_METRICS_CONNECTIONS, MAX_METRICS_REQUEST_BYTES
from treering_runtime.metrics_server import MetricsServer
from treering_runtime.telemetry import new_registry

HALF = b"GET /metrics HTTP/1.1\r\nHost: 127."


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    serving = MetricsServer("127.0.0.1:0", new_registry(), ("ingest", "Ingest.Logs.SVC"))
    yield serving
    serving.close()


def connected(server: MetricsServer) -> contextlib.closing[Any]:
    host, _, port = server.address.rpartition(":")
    return contextlib.closing(socket.create_connection((host, int(port)), PATIENCE_S))


def asked(server: MetricsServer, method: str = "GET", path: str = "/metrics", **headers: str) -> tuple[int, dict[str, str], str]:
    """Status, headers and body of one request; without `Host` where that is empty."""
    connection = http.client.HTTPConnection(server.address, timeout=PATIENCE_S)
    with contextlib.closing(connection):
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            if value:
                connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()


def ended(connection: Any) -> None:
    """Returns when the server has ended it, by whatever means, without an answer."""
    with contextlib.suppress(ConnectionError):
        assert connection.recv(1) == b""


WHOLE = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain\r\n\r\n"


def test_whatever_bytes_come_the_next_one_is_answered(server: MetricsServer) -> None:
    random = chance("metrics")
    for number in range(2_000 if ALL else 100):
        raw = bytearray(WHOLE)
        for _ in range(random.randrange(1, 6)):
            raw[random.randrange(len(raw))] = random.choice((0, 10, 13, 32, 58, 255, random.randrange(256)))
        sent = random.choice((bytes(raw), random.randbytes(random.randrange(300)), WHOLE[: random.randrange(len(WHOLE))], bytes(raw) * 90))
        with connected(server) as connection, contextlib.suppress(ConnectionError):
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65_536):
                pass
        if number % 10 == 0:
            assert asked(server)[0] == 200, (SEED, number)


def test_metrics_answer_over_http(server: MetricsServer) -> None:
    with urllib.request.urlopen(f"http://{server.address}/metrics") as answer:
        text = answer.read().decode()
    assert "process_resident_memory_bytes" in text


def test_the_form_is_the_one_that_is_asked_for(server: MetricsServer) -> None:
    assert asked(server)[1]["Content-Type"].startswith("text/plain")
    status, headers, text = asked(server, Accept="application/openmetrics-text; version=1.0.0")
    assert (status, headers["Content-Type"].partition(";")[0], text[-6:]) == (200, "application/openmetrics-text", "# EOF\n")


def test_a_taken_port_is_told_from_a_wrong_address(server: MetricsServer) -> None:
    with pytest.raises(AddressTakenError, match=r"metrics_listen=.*; choose another port"):
        MetricsServer(server.address, new_registry())
    with pytest.raises(StartError, match=r"metrics_listen=192.0.2.1:1: .*; choose another port") as caught:
        MetricsServer("192.0.2.1:1", new_registry())
    assert type(caught.value) is StartError


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_an_address_of_version_6_is_written_in_brackets() -> None:
    serving = MetricsServer("[::1]:0", new_registry())
    assert serving.address.startswith("[::1]:")
    assert asked(serving)[0] == 200
    serving.close()


@pytest.mark.parametrize(
    "host",
    [
        "",
        "localhost",
        "LocalHost:4711",
        "127.0.0.1",
        "10.1.2.3:4711",
        "[::1]",
        "[fe80::1]:4711",
        "ingest",
        "ingest:4711",
        "INGEST.logs.svc",
    ],
)
def test_it_answers_by_addresses_and_by_its_names(server: MetricsServer, host: str) -> None:
    assert asked(server, Host=host)[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:4711",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "ingest.",
        "xingest",
        "[evil]",
        ":4711",
        "a b",
    ],
)
def test_any_other_name_is_refused_with_the_setting_that_would_allow_it(server: MetricsServer, host: str) -> None:
    status, _, text = asked(server, Host=host)
    assert (status, "METRICS_HOSTS" in text, "process_" in text) == (403, True, False)


def test_a_host_that_is_there_twice_is_refused(server: MetricsServer) -> None:
    with connected(server) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: evil.example\r\nHost: localhost\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/metrics/x", 404),
        ("GET", "http://localhost/metrics", 404),
        ("POST", "/metrics", 405),
        ("GET", "/metrics?a=b", 200),
    ],
)
def test_only_metrics_are_there(server: MetricsServer, method: str, path: str, status: int) -> None:
    assert asked(server, method, path)[0] == status


def test_no_number_of_connections_costs_a_thread_or_keeps_prometheus_out(monkeypatch: pytest.MonkeyPatch, server: MetricsServer) -> None:
    monkeypatch.setattr(metrics_server, "METRICS_TIMEOUT_S", 1_000)
    before = threading.active_count()
    with contextlib.ExitStack() as stack:
        halves = [stack.enter_context(connected(server)) for _ in range(4 * MAX_METRICS_CONNECTIONS)]
        for half in halves:
            half.sendall(HALF)
        assert asked(server)[0] == 200
        assert len(server._open) <= MAX_METRICS_CONNECTIONS
        for half in halves[:-MAX_METRICS_CONNECTIONS]:
            ended(half)
        assert threading.active_count() == before


def test_a_request_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch, server: MetricsServer) -> None:
    monkeypatch.setattr(metrics_server, "METRICS_TIMEOUT_S", 0.05)
    with connected(server) as connection:
        connection.sendall(HALF)
        ended(connection)


def test_a_request_that_is_too_large_is_given_up(server: MetricsServer) -> None:
    with connected(server) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(HALF + b"x" * 4 * MAX_METRICS_REQUEST_BYTES)
        ended(connection)
    assert asked(server)[0] == 200


def test_a_close_does_not_wait_for_half_a_request_wherever_its_connection_is() -> None:
    for _ in range(20):
        serving = MetricsServer("127.0.0.1:0", new_registry())
        with connected(serving) as connection:
            connection.sendall(HALF)
            serving.close()
            ended(connection)


def test_a_second_close_changes_nothing(server: MetricsServer) -> None:
    server.close()
    server.close()
