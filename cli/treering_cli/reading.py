"""How the lines of an input become records: what its options and its name say."""

import datetime as dt
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from treering_cli.file_names import service_of
from treering_formats.reader import Format, Stream

if TYPE_CHECKING:
    from treering_formats.records import RecordReader
    from treering_formats.redaction.redactor import Redactor

STDIN_NAMES = ("-", "/dev/stdin")
"""Names of standard input."""


@dataclass(frozen=True)
class ReadingOptions:
    """Options that say how lines are read."""

    service: Annotated[str | None, typer.Option(help="Service of records that name none. Default: by the file's name.")] = None
    environment: Annotated[str, typer.Option(help="Environment of records that name none.")] = ""
    format: Annotated[Format, typer.Option(help="What a line is; auto looks at each one.")] = "auto"
    time_zone: Annotated[
        str, typer.Option(metavar="ZONE", help="Zone of times that name none, for example Europe/Warsaw or +02:00. Default: UTC.")
    ] = ""
    redact: Annotated[
        bool,
        typer.Option("--redact", help="Mask secrets by the built-in rules before anything is sent; rules of your own: docs/formats.md."),
    ] = False


def _zone(name: str) -> dt.tzinfo:
    """The zone that a person names.

    Raises:
        typer.BadParameter: This machine knows none of that name.
    """
    from treering_formats.zones import offset_of, zone_named  # noqa: PLC0415 - start-up

    if not name or name.upper() == "UTC":
        return dt.UTC
    offset = offset_of(name) if name[0] in "+-" else None
    zone = zone_named(name) if offset is None else dt.timezone(dt.timedelta(seconds=offset))
    if zone is None:
        raise typer.BadParameter(f"--time-zone: no such zone {name!r} on this machine; give one such as Europe/Warsaw, or +02:00")
    return zone


@dataclass
class ReaderFactory:
    """Makes the readers of a run."""

    options: ReadingOptions
    redactors: "list[Redactor]" = field(default_factory=list)

    def reader(self, stream: Stream, name: str) -> "RecordReader":
        """What makes records of the lines of an input.

        Raises:
            Refusal: The rules of redaction cannot be applied.
            typer.BadParameter: There is no such time zone.
        """
        from treering_cli.redacting import configured_redactor  # noqa: PLC0415 - start-up
        from treering_formats.records import RecordReader  # noqa: PLC0415
        from treering_formats.wrappers.kubernetes import path_origin  # noqa: PLC0415

        options = self.options
        origin = path_origin(str(Path(name).absolute()))
        by_name = "stdin" if name in STDIN_NAMES else origin.service if origin else service_of(name)
        # One for each input: a private key that goes over several records is known by those before.
        redactor = configured_redactor(built_in=options.redact)
        self.redactors += [redactor] if redactor else []
        return RecordReader(
            stream,
            service=options.service or by_name,
            environment=options.environment or (origin.environment if origin else ""),
            fmt=options.format,
            now=dt.datetime.now(dt.UTC),
            zone=_zone(options.time_zone),
            attributes=origin.attributes if origin else None,
            redactor=redactor,
        )

    def redacted(self) -> dict[str, int]:
        """How often each rule masked something."""
        return dict(sum((redactor.counts for redactor in self.redactors), Counter[str]()).most_common())
