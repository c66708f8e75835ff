"""Mutual TLS from three files, which are looked at before anything is served or asked with them."""

import os
import ssl
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import grpc

from treering.inner.addresses import InnerPlaneError

_LARGEST_FILE = 1024 * 1024


class _Read(NamedTuple):
    """What the three files hold."""

    ca: bytes
    cert: bytes
    key: bytes


@dataclass(frozen=True)
class TlsFiles:
    """The certificate authority of the installation, a certificate that it signed, and the certificate's key. All PEM.

    Args:
        ca: Signed every certificate of the inner plane, and should sign nothing else: whoever has one of its certificates is let in.
        cert: With what lies between it and `ca`, if anything does. For clients and servers (`clientAuth`, `serverAuth`).
        key: Without a passphrase. Its user alone may read it; where root owns it, its group too.
        names: How errors call the three, for example by their settings.
    """

    ca: Path
    cert: Path
    key: Path
    names: tuple[str, str, str] = ("ca", "cert", "key")

    @classmethod
    def given(cls, values: tuple[str, str, str], names: tuple[str, str, str]) -> "TlsFiles | None":
        """From three texts: None when all are empty.

        Raises:
            InnerPlaneError: Some are empty and some are not.
        """
        missing = [name for name, value in zip(names, values, strict=True) if not value]
        if len(missing) == len(names):
            return None
        # Half of the files would mean TLS for some and none for others; the operator meant all or nothing.
        if missing:
            raise InnerPlaneError(f"{' and '.join(missing)}: not given, but the others are; mutual TLS needs all of {', '.join(names)}")
        ca, cert, key = map(Path, values)
        return cls(ca, cert, key, names)

    def for_server(self) -> grpc.ServerCredentials:
        """Lets nobody in without a certificate of `ca`.

        Raises:
            InnerPlaneError: A file cannot be used.
        """
        read = self._checked(serves=True)
        return grpc.ssl_server_credentials([(read.key, read.cert)], root_certificates=read.ca, require_client_auth=True)

    def for_client(self, *, serves: bool = False) -> grpc.ChannelCredentials:
        """Shows the certificate, and talks to nobody without one of `ca` for the name that was connected to.

        Args:
            serves: Whether the certificate must do for a server, too.

        Raises:
            InnerPlaneError: A file cannot be used.
        """
        read = self._checked(serves=serves)
        return grpc.ssl_channel_credentials(root_certificates=read.ca, private_key=read.key, certificate_chain=read.cert)

    def _checked(self, *, serves: bool) -> _Read:
        ca, cert, key = self.names
        # What was read and checked is what gRPC gets: it opens no file itself that could be another one by then.
        read = _Read(_content(ca, self.ca), _content(cert, self.cert), _content(key, self.key, secret=True))
        self._shake_hands(read.ca, serves=serves)
        return read

    def _shake_hands(self, ca: bytes, *, serves: bool) -> None:
        """Meets itself in memory: a certificate that others would refuse is refused here, at the start, with its file's name."""
        server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # No name to check: this handshake has no address; gRPC checks it against the real one.
        client.check_hostname = False
        # Whoever only asks has a certificate that need not do for a server.
        client.verify_mode = ssl.CERT_REQUIRED if serves else ssl.CERT_NONE
        server.verify_mode = ssl.CERT_REQUIRED
        for context in (server, client):
            self._load(context, ca)
        try:
            _meet(server, client)
        # A subclass of SSLError: first, for its own words.
        except ssl.SSLCertVerificationError as error:
            problem = f"{self.ca} does not vouch for it: {error.verify_message}; have it signed anew"
            raise InnerPlaneError(f"{self.names[1]}={self.cert}: {problem}") from None
        except ssl.SSLError as error:
            raise InnerPlaneError(f"{self.names[1]}={self.cert}: cannot be used for TLS: {error.reason}") from None

    def _load(self, context: ssl.SSLContext, ca: bytes) -> None:
        try:
            context.load_verify_locations(cadata=ca.decode("ascii"))
        except (ssl.SSLError, ValueError):
            raise InnerPlaneError(f"{self.names[0]}={self.ca}: holds no certificate in PEM form") from None
        try:
            context.load_cert_chain(self.cert, self.key, password=_no_passphrase)
        except (ssl.SSLError, OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            problem = f"no certificate and its key, both in PEM form, the key without a passphrase ({reason})"
            raise InnerPlaneError(f"{self.names[1]}={self.cert}, {self.names[2]}={self.key}: {problem}") from None


def _no_passphrase() -> str:
    """Nobody is asked: a service has no terminal."""
    raise ValueError("the key has a passphrase")


def _content(name: str, path: Path, *, secret: bool = False) -> bytes:
    """What a file holds, if nobody but its owner, this user or root, can have written it; nor read it where it is secret."""
    try:
        with path.open("rb") as file:
            # `fstat` of the open file, not `stat` of its path: it is the file whose content is read.
            problem = _foreign(os.fstat(file.fileno()), secret=secret)
            content = b"" if problem else file.read(_LARGEST_FILE)
    except OSError as error:
        raise InnerPlaneError(f"{name}={path}: cannot be read: {error.strerror}") from None
    if problem:
        raise InnerPlaneError(f"{name}={path}: {problem}")
    return content


def _foreign(status: os.stat_result, *, secret: bool) -> str:
    if not stat.S_ISREG(status.st_mode):
        return "is no file"
    # Root's files are trusted: root could do everything anyway.
    if status.st_uid not in {0, os.geteuid()}:
        return f"belongs to user {status.st_uid}; it must belong to this one, {os.geteuid()}, or to root"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "others may write it; chmod go-w"
    # a key that root hands over to a group, as orchestrators do, is as safe as root is careful
    readers = stat.S_IROTH if status.st_uid == 0 and os.geteuid() != 0 else stat.S_IRGRP | stat.S_IROTH
    if secret and status.st_mode & readers:
        return "others may read it; chmod 600, and have a new one made if they did"
    return ""


def _meet(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    """A handshake between two sides in memory, to its end.

    Raises:
        ssl.SSLError: One of them refuses the other.
    """
    # Neither side waits: what one writes the other finds in memory at its next turn.
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [client.wrap_bio(down, up), server.wrap_bio(up, down, server_side=True)]
    for _ in range(4):  # with TLS 1.3 the server says after two turns whether it takes the client's certificate
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
