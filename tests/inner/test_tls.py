"""Mutual TLS between hosts: both ends look, and files that would not do are refused at the start."""

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import grpc
import pytest
from cryptography.hazmat.primitives import serialization
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry

from tests.certificates import Authority, Files
from tests.privileges import EVERYTHING, needs_root
from treering.inner import InnerPlaneError
from treering.inner.channels import connect_async
from treering.inner.tls import TlsFiles
from treering_runtime.doors import Port
from treering_runtime.errors import StartError
from treering_runtime.planes import InnerPlane
from treering_runtime.server import Server
from treering_runtime.settings import ServiceSettings

NAMES = ("CA", "CERT", "KEY")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ours")


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "theirs")


@asynccontextmanager
async def serving(files: Files) -> AsyncIterator[str]:
    server = Server(Port("127.0.0.1:0", files.tls.for_server()), [], CollectorRegistry())
    await server.start()
    yield server.address
    await server.stop(0)


async def asked(address: str, credentials: grpc.ChannelCredentials) -> grpc.StatusCode:
    """The health that a client with these credentials is told, or the code of its error."""
    async with connect_async(address, credentials) as channel:
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        except grpc.aio.AioRpcError as error:
            return error.code()
    return answer.status


async def test_who_has_a_certificate_of_the_authority_is_let_in(authority: Authority) -> None:
    async with serving(authority.files("embed")) as address:
        client = authority.files("ingest").tls.for_client()
        assert await asked(address, client) == health_pb2.HealthCheckResponse.SERVING


async def test_a_client_without_a_certificate_is_refused(authority: Authority) -> None:
    async with serving(authority.files("embed")) as address:
        bare = grpc.ssl_channel_credentials(root_certificates=authority.ca.read_bytes())
        assert await asked(address, bare) is grpc.StatusCode.UNAVAILABLE


async def test_a_client_in_clear_is_refused(authority: Authority) -> None:
    async with serving(authority.files("embed")) as address, grpc.aio.insecure_channel(address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_client_of_another_authority_is_refused(authority: Authority, stranger: Authority) -> None:
    async with serving(authority.files("embed")) as address:
        theirs = stranger.files("ingest")
        # it trusts the server, so that the server's look alone decides
        mixed = grpc.ssl_channel_credentials(authority.ca.read_bytes(), theirs.key.read_bytes(), theirs.cert.read_bytes())
        assert await asked(address, mixed) is grpc.StatusCode.UNAVAILABLE


async def test_a_server_of_another_authority_gets_nothing(authority: Authority, stranger: Authority) -> None:
    ours = authority.files("ingest")
    theirs = stranger.files("embed")
    # it trusts the client, so that the client's look alone decides
    credentials = grpc.ssl_server_credentials(
        [(theirs.key.read_bytes(), theirs.cert.read_bytes())], ours.ca.read_bytes(), require_client_auth=True
    )
    server = Server(Port("127.0.0.1:0", credentials), [], CollectorRegistry())
    await server.start()
    assert await asked(server.address, ours.tls.for_client()) is grpc.StatusCode.UNAVAILABLE
    await server.stop(0)


async def test_a_server_of_another_name_gets_nothing(authority: Authority) -> None:
    async with serving(authority.files("embed", host="embed.example.org")) as address:
        assert await asked(address, authority.files("ingest").tls.for_client()) is grpc.StatusCode.UNAVAILABLE


async def test_an_expired_client_is_refused(authority: Authority) -> None:
    old = authority.files("old", days=-1)
    async with serving(authority.files("embed")) as address:
        credentials = grpc.ssl_channel_credentials(old.ca.read_bytes(), old.key.read_bytes(), old.cert.read_bytes())
        assert await asked(address, credentials) is grpc.StatusCode.UNAVAILABLE


async def test_an_expired_server_gets_nothing(authority: Authority) -> None:
    old = authority.files("old", days=-1)
    credentials = grpc.ssl_server_credentials([(old.key.read_bytes(), old.cert.read_bytes())], old.ca.read_bytes(), True)
    server = Server(Port("127.0.0.1:0", credentials), [], CollectorRegistry())
    await server.start()
    assert await asked(server.address, authority.files("ingest").tls.for_client()) is grpc.StatusCode.UNAVAILABLE
    await server.stop(0)


class Sample(ServiceSettings):
    service: ClassVar[str] = "sample"


def plane(tmp_path: Path, files: Files | None = None, **changes: str) -> InnerPlane:
    settings = {f"inner_{kind}_file": str(getattr(files, kind)) for kind in ("ca", "cert", "key")} if files else {}
    chosen = {"data_dir": tmp_path / "data", "listen": "127.0.0.1:0", "metrics_listen": "127.0.0.1:0", **settings, **changes}
    return InnerPlane(Sample(**chosen))


@pytest.mark.parametrize("address", ["127.0.0.1:0", "0.0.0.0:4721", "embed.logs:4722"])
def test_a_port_without_the_files_is_refused_with_the_settings_and_the_remedy(tmp_path: Path, address: str) -> None:
    for use in (lambda: plane(tmp_path, inner_listen=address), lambda: plane(tmp_path).peer("SINKS", address)):
        with pytest.raises(StartError) as caught:
            use()
        assert f"={address}: the inner plane is reached over the network by mutual TLS alone" in str(caught.value)
        for kind in NAMES:
            assert f"TREERING_SAMPLE_INNER_{kind}_FILE" in str(caught.value)


@pytest.mark.parametrize("missing", ["ca", "cert", "key"])
def test_some_of_the_files_are_not_enough(tmp_path: Path, authority: Authority, missing: str) -> None:
    with pytest.raises(StartError, match=f"^settings: TREERING_SAMPLE_INNER_{missing.upper()}_FILE: not given, but the others are"):
        plane(tmp_path, authority.files("a"), **{f"inner_{missing}_file": ""})


def test_with_the_files_a_port_is_served_and_asked(tmp_path: Path, authority: Authority) -> None:
    found = plane(tmp_path, authority.files("a"), inner_listen="127.0.0.1:0")
    assert isinstance(found.door, Port)
    assert found.door.credentials
    assert found.peer("SINKS", "127.0.0.1:1").credentials
    assert not found.peer("SINKS", "unix:/run/x/s").credentials


def refused(tmp_path: Path, files: Files, kind: object, problem: str) -> None:
    with pytest.raises(StartError, match=rf"^settings: TREERING_SAMPLE_INNER_{kind}_FILE={getattr(files, kind.lower())}.*{problem}"):
        plane(tmp_path, files)


@pytest.mark.parametrize("kind", NAMES)
def test_a_file_that_is_not_there_is_named(tmp_path: Path, authority: Authority, kind: str) -> None:
    files = authority.files("a")
    getattr(files, kind.lower()).unlink()
    refused(tmp_path, files, kind, "cannot be read: No such file or directory")


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o644])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, authority: Authority, mode: int) -> None:
    files = authority.files("a")
    files.key.chmod(mode)
    refused(tmp_path, files, "KEY", "others may read it; chmod 600")


@pytest.mark.parametrize("kind", NAMES)
def test_a_file_that_others_may_write_is_refused(tmp_path: Path, authority: Authority, kind: str) -> None:
    files = authority.files("a")
    getattr(files, kind.lower()).chmod(0o620)
    refused(tmp_path, files, kind, "others may write it; chmod go-w")


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=needs_root) for kind in NAMES])
def test_a_file_of_somebody_else_is_refused(tmp_path: Path, authority: Authority, kind: object) -> None:
    files = authority.files("a")
    os.chown(getattr(files, kind.lower()), 65534, -1)
    refused(tmp_path, files, kind, "belongs to user 65534; it must belong to this one, 0, or to root")


@pytest.mark.parametrize("kind", NAMES)
def test_a_file_that_holds_something_else_is_refused(tmp_path: Path, authority: Authority, kind: str) -> None:
    files = authority.files("a")
    getattr(files, kind.lower()).write_text("nothing of the kind\n")
    named = "CA" if kind == "CA" else "CERT"
    refused(tmp_path, files, named, "PEM form")


def test_the_key_of_another_certificate_is_refused(tmp_path: Path, authority: Authority) -> None:
    files, other = authority.files("a"), authority.files("b")
    files.key.write_bytes(other.key.read_bytes())
    refused(tmp_path, files, "CERT", "KEY_VALUES_MISMATCH")


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked(tmp_path: Path, authority: Authority) -> None:
    files = authority.files("a")
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"secret")
    files.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked))
    refused(tmp_path, files, "CERT", "the key has a passphrase")


def test_a_certificate_of_another_authority_is_refused(tmp_path: Path, authority: Authority, stranger: Authority) -> None:
    files, foreign = authority.files("a"), stranger.files("a")
    files.cert.write_bytes(foreign.cert.read_bytes())
    files.key.write_bytes(foreign.key.read_bytes())
    refused(tmp_path, files, "CERT", "does not vouch for it: .*; have it signed anew")


def test_an_expired_certificate_is_refused(tmp_path: Path, authority: Authority) -> None:
    refused(tmp_path, authority.files("a", days=-1), "CERT", "certificate has expired; have it signed anew")


@pytest.mark.skipif(not (shutil.which("openssl") or EVERYTHING), reason="needs openssl, whose commands a document has")
async def test_the_certificates_of_the_document_do(tmp_path: Path) -> None:
    [script] = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/operations.md").read_text(), re.DOTALL)
    await asyncio.to_thread(subprocess.run, ["sh", "-euc", script], cwd=tmp_path, check=True, capture_output=True)
    embed, person = (
        TlsFiles(tmp_path / "ca.pem", tmp_path / f"{name}.pem", tmp_path / f"{name}.key") for name in ("embed.example.org", "operator")
    )
    server = Server(Port("127.0.0.1:0", embed.for_server()), [], CollectorRegistry())
    await server.start()
    options = (("grpc.ssl_target_name_override", "embed.example.org"),)
    async with connect_async(server.address, person.for_client(), options) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    await server.stop(0)


def test_a_persons_files_are_looked_at_likewise(authority: Authority, stranger: Authority) -> None:
    files, foreign = authority.files("a"), stranger.files("a")
    assert files.tls.for_client()
    with pytest.raises(InnerPlaneError, match=r"^cert=.* does not vouch for it"):
        TlsFiles(files.ca, foreign.cert, foreign.key).for_client()
