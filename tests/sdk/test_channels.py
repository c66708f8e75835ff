"""Connections: which calls gRPC may repeat by itself, and what an address is."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from treering import AdminClient, Client, Endpoints, NameResolutionError, UnavailableError
from treering.channels import READS
from treering.errors import from_call
from treering.v1 import admin_pb2, admin_pb2_grpc, embed_pb2, embed_pb2_grpc, query_pb2, query_pb2_grpc

from .conftest import Serving

CHANGES = {"CancelReindex", "ForgetPatterns", "StartReindex"}


def away(calls: Any, name: Any) -> Callable[[Any, Any], None]:
    def method(request: Any, context: Any) -> None:
        calls[name] += 1
        context.abort(grpc.StatusCode.UNAVAILABLE, "away")

    return method


@pytest.fixture
def calls() -> Counter[Any]:
    return Counter()


ADDED = {
    (embed_pb2, "EmbedService"): embed_pb2_grpc.add_EmbedServiceServicer_to_server,
    (query_pb2, "QueryService"): query_pb2_grpc.add_QueryServiceServicer_to_server,
    (admin_pb2, "EmbedAdminService"): admin_pb2_grpc.add_EmbedAdminServiceServicer_to_server,
    (admin_pb2, "QueryAdminService"): admin_pb2_grpc.add_QueryAdminServiceServicer_to_server,
}


@pytest.fixture
def serving(calls: Counter[Any], tmp_path: Path) -> Iterator[Serving]:
    def add(server: grpc.Server) -> None:
        for (module, name), add_to in ADDED.items():
            rpcs = [method.name for method in module.DESCRIPTOR.services_by_name[name].methods]
            add_to(SimpleNamespace(**{rpc: away(calls, rpc) for rpc in rpcs}), server)

    started = Serving(add, tmp_path / "inner" / "s")
    yield started
    started.stop()


@pytest.fixture
def client(serving: Serving) -> Iterator[Client]:
    with Client(serving.endpoints) as made:
        yield made


@pytest.fixture
def admin(serving: Serving) -> Iterator[AdminClient]:
    with AdminClient(serving.inner_endpoints) as made:
        yield made


def test_every_rpc_of_the_sinks_is_known_as_a_read_or_as_a_change() -> None:
    for module, name in ADDED:
        rpcs = {method.name for method in module.DESCRIPTOR.services_by_name[name].methods}
        assert set(READS[f"treering.v1.{name}"]) == rpcs - CHANGES


@pytest.mark.parametrize(
    ("ask", "rpc"),
    [(lambda admin: admin.start_reindex("m"), "StartReindex"), (lambda admin: admin.forget_patterns([]), "ForgetPatterns")],
)
def test_a_change_is_never_repeated_behind_its_caller(admin: AdminClient, calls: Counter[Any], ask: Callable[[Any], Any], rpc: str) -> None:
    with pytest.raises(UnavailableError):
        ask(admin)
    assert calls == {rpc: 1}


@pytest.mark.parametrize(
    ("ask", "rpc"),
    [(lambda client: client.get_embed_status(), "GetEmbedStatus"), (lambda client: list(client.execute_sql("select 1")), "ExecuteSql")],
)
def test_a_read_is_asked_again(
    client: Client, calls: Counter[Any], ask: Callable[[Any], Any] | Callable[[Any], list[Any]], rpc: str
) -> None:
    with pytest.raises(UnavailableError):
        ask(client)
    assert calls == {rpc: 4}


@pytest.mark.parametrize("address", ["127.0.0.1:4701", "ingest.logs:1", "[::1]:65535", "unix:/run/treering.sock", "dns:///ingest:4701"])
def test_an_address_may_be(address: str) -> None:
    assert Endpoints(address, address, address).all() == (address,) * 3


@pytest.mark.parametrize(
    "address", ["", "127.0.0.1", "host", "host:0", "host:65536", "host:", "::1:4701", ":4701", "a b:4701", "http://x:1"]
)
def test_what_is_no_address_is_refused_with_its_field_and_a_remedy(address: str) -> None:
    with pytest.raises(ValueError, match=r"^query: invalid address '.*'; use host:port with a port from 1 to 65535, for example 127"):
        Endpoints(query=address)


class Failed(grpc.RpcError):
    def __init__(self, words: object) -> None:
        self._words = words

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> object:  # type: ignore[override]
        return self._words

    def trailing_metadata(self) -> tuple[Any, ...]:
        return ()


def test_a_name_that_nobody_has_is_told_from_a_service_that_is_away() -> None:
    unknown = from_call(Failed("errors resolving a.invalid:1: [field:hostname error:lookup failed: Domain name not found]"), "a.invalid:1")
    assert type(unknown) is NameResolutionError
    assert unknown.message == "nobody answers at a.invalid:1 (Domain name not found)"
    refused = from_call(Failed("failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Connection refused"), "h:1")
    assert type(refused) is UnavailableError


def test_a_call_that_was_interrupted_while_it_was_made_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C between the call and the thread that polls it: gRPC's own `close` never returns then."""

    def interrupted(_state: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("grpc._channel._run_channel_spin_thread", interrupted)
    with pytest.raises(KeyboardInterrupt), Client(Endpoints(query="127.0.0.1:1")) as client:
        next(iter(client.tail_logs()))
