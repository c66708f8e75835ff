"""Where the services are: options, environment, the `treering up` that runs on the data directory, default ports; in this order."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from treering.addresses import check_address
from treering_cli.instance import DEFAULT_DATA_DIR, Instance, running_instance
from treering_cli.problems import Refusal

if TYPE_CHECKING:
    from treering.channels import Endpoints
    from treering.client import Client


def _address(value: str | None) -> str | None:
    try:
        return check_address(value) if value else value
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _option(name: str, what: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(
        f"--{name}", envvar=f"TREERING_{name.upper()}", metavar="HOST:PORT", help=what, callback=_address, rich_help_panel="Connection"
    )
    return option


@dataclass(frozen=True)
class Connection:
    """Options that say where the services are."""

    ingest: Annotated[str | None, _option("ingest", "Where records go in.")] = None
    embed: Annotated[str | None, _option("embed", "Where meaning is computed.")] = None
    query: Annotated[str | None, _option("query", "Where questions are answered.")] = None
    data_dir: Annotated[
        Path | None,
        typer.Option(
            envvar="TREERING_DATA_DIR",
            help=f"Talk to the `treering up` that runs on this directory (else {DEFAULT_DATA_DIR}).",
            rich_help_panel="Connection",
        ),
    ] = None

    def endpoints(self) -> "Endpoints":
        """The addresses in force.

        Raises:
            Refusal: A data directory is named, no `treering up` runs on it, and the options do not say all.
        """
        from treering.channels import Endpoints  # noqa: PLC0415 - start-up

        given = {name: value for name in ("ingest", "embed", "query") if (value := getattr(self, name))}
        running = self.instance(is_enough=bool(given))
        return dataclasses.replace(_endpoints_of(running) if running else Endpoints(), **given)

    def instance(self, *, is_enough: bool) -> Instance | None:
        """The `treering up` that runs on the data directory.

        Args:
            is_enough: Whether other options say where to go, so that nothing need run there.

        Raises:
            Refusal: A data directory is named, and no `treering up` runs on it.
        """
        running = running_instance(self.data_dir or DEFAULT_DATA_DIR)
        if self.data_dir and not running and not is_enough:
            raise Refusal(f"no `treering up` is running on {self.data_dir}; start it: treering up --data-dir {self.data_dir}")
        return running

    def client(self, timeout: float = 30.0) -> "Client":
        """A client for the addresses in force; `timeout` is the deadline of its calls, seconds."""
        from treering.client import Client  # noqa: PLC0415 - start-up

        return Client(self.endpoints(), timeout=timeout)


def _endpoints_of(instance: Instance) -> "Endpoints":
    from treering.channels import Endpoints  # noqa: PLC0415 - start-up

    return Endpoints(instance.ingest, instance.embed, instance.query)
