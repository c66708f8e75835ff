"""`treering formats`: what `send` understands."""

from typing import Annotated

import typer

from treering_cli.output import answer_json, answer_table


def formats(*, json: Annotated[bool, typer.Option("--json", help="Answer with JSON.")] = False) -> None:
    """List the formats of logs that are read: what is opened, what has a reader of its own, and the general forms.

    Nothing has to be chosen: each line is read by the first format that fits. `treering send --dry-run FILE` shows how the first lines of
    a file are read.
    """
    from treering_formats.catalog import CATALOG  # noqa: PLC0415 - start-up

    if json:
        fields = ("kind", "name", "description", "example")
        answer_json([{name: getattr(each, name) for name in fields} for each in CATALOG])
    else:
        answer_table(
            ["kind", "format", "what writes it", "for example"],
            ([each.kind, each.name, each.description, each.example] for each in CATALOG),
        )
