"""Certificates for mutual TLS, made by the test that needs them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

from treering.inner.tls import TlsFiles


@dataclass(frozen=True)
class Files:
    """Where the three files of somebody are."""

    ca: Path
    cert: Path
    key: Path

    def settings(self, prefix: str) -> dict[str, str]:
        """As variables that begin with a prefix."""
        return {f"{prefix}INNER_{name.upper()}_FILE": str(getattr(self, name)) for name in ("ca", "cert", "key")}

    @property
    def tls(self) -> TlsFiles:
        return TlsFiles(self.ca, self.cert, self.key)


class Authority:
    """Signs certificates for hosts of the loopback.

    Args:
        directory: Where its files go.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._ca = trustme.CA()
        self.ca = directory / "ca.pem"
        self._ca.cert_pem.write_to_path(self.ca)

    def files(self, name: str, *, host: str = "127.0.0.1", days: float = 30) -> Files:
        """The files of a service or a person; `days` until it expires, which may be in the past."""
        now = datetime.now(UTC)
        issued = self._ca.issue_cert(
            host, "localhost", common_name=name, not_before=now - timedelta(days=60), not_after=now + timedelta(days=days)
        )
        cert, key = (self._directory / f"{name}.{kind}.pem" for kind in ("cert", "key"))
        cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        key.touch(mode=0o600)
        key.write_bytes(issued.private_key_pem.bytes())
        return Files(self.ca, cert, key)
