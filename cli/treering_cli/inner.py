"""Where the inner planes are, for commands that look after the services.

Options, environment, the `treering up` that runs on the data directory, its default places; in this order.
"""

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from treering_cli.connection import Connection
from treering_cli.problems import Refusal

if TYPE_CHECKING:
    from treering.admin import AdminClient, InnerEndpoints

_PANEL = "Inner plane"


def _address(value: str | None) -> str | None:
    if not value:
        return value
    from treering.inner import InnerAddress, InnerPlaneError  # noqa: PLC0415 - start-up

    try:
        return InnerAddress.parse(value).text
    except InnerPlaneError as error:
        raise typer.BadParameter(str(error)) from None


def _place(name: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(
        f"--inner-{name}",
        envvar=f"TREERING_INNER_{name.upper()}",
        metavar="ADDRESS",
        help=f"Where {name} serves whoever runs it: unix:PATH or HOST:PORT.",
        callback=_address,
        rich_help_panel=_PANEL,
    )
    return option


def _file(name: str, what: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(
        f"--inner-{name}-file",
        envvar=f"TREERING_INNER_{name.upper()}_FILE",
        metavar="FILE",
        help=f"For HOST:PORT, {what}, PEM.",
        rich_help_panel=_PANEL,
    )
    return option


@dataclass(frozen=True)
class Inner:
    """Options that say how the inner planes are reached."""

    inner_ingest: Annotated[str | None, _place("ingest")] = None
    inner_embed: Annotated[str | None, _place("embed")] = None
    inner_query: Annotated[str | None, _place("query")] = None
    inner_ca_file: Annotated[str, _file("ca", "the authority that signed the services' certificates")] = ""
    inner_cert_file: Annotated[str, _file("cert", "your certificate")] = ""
    inner_key_file: Annotated[str, _file("key", "its key")] = ""

    def admin(self, connection: Connection, timeout: float = 30.0) -> "AdminClient":
        """A client of the inner planes in force; `timeout` is the deadline of its calls, seconds.

        Raises:
            Refusal: Nothing says where they are, or not all that TLS needs is given.
        """
        from treering.admin import AdminClient  # noqa: PLC0415 - start-up

        return AdminClient(self.endpoints(connection), timeout=timeout)

    def endpoints(self, connection: Connection) -> "InnerEndpoints":
        """The inner planes in force.

        Raises:
            Refusal: Nothing says where they are, or not all that TLS needs is given.
        """
        from treering.inner import InnerPlaneError  # noqa: PLC0415 - start-up
        from treering.inner.tls import TlsFiles  # noqa: PLC0415

        names = ("--inner-ca-file", "--inner-cert-file", "--inner-key-file")
        try:
            tls = TlsFiles.given((self.inner_ca_file, self.inner_cert_file, self.inner_key_file), names)
        except InnerPlaneError as error:
            raise Refusal(str(error)) from None
        return dataclasses.replace(self._places(connection), tls=tls)

    def _places(self, connection: Connection) -> "InnerEndpoints":
        from treering.admin import InnerEndpoints  # noqa: PLC0415 - start-up

        given = {name: value for name in ("ingest", "embed", "query") if (value := getattr(self, f"inner_{name}"))}
        running = connection.instance(is_enough=bool(given))
        if running and not running.inner and not given:
            raise Refusal("the `treering up` that runs is of another version and names no inner planes; restart it")
        return InnerEndpoints(**{**(running.inner if running else {}), **given})
