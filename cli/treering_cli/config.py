"""`treering config`: the settings in force."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import typer

from treering_cli.escaping import escape
from treering_cli.instance import DEFAULT_DATA_DIR, running_instance
from treering_cli.output import answer, answer_json, note
from treering_cli.problems import Refusal
from treering_cli.programs import NotInstalledError, answers

_SERVICES = ("ingest", "embed", "query")


def config(
    *,
    data_dir: Annotated[
        Path, typer.Option(envvar="TREERING_DATA_DIR", help="Show what the `treering up` on this directory told its services.")
    ] = DEFAULT_DATA_DIR,
    json: Annotated[bool, typer.Option("--json", help="Answer with JSON.")] = False,
) -> None:
    """Show every setting of the services: its value here and now, its variable, default and meaning."""
    running = running_instance(data_dir)
    environment = running.settings if running else {}
    with ThreadPoolExecutor(len(_SERVICES)) as together:  # each is a program of its own, and takes half a second to start
        tables = dict(zip(_SERVICES, together.map(lambda name: _settings(name, environment), _SERVICES), strict=True))
    if json:
        answer_json({name: table for name, table in tables.items() if table is not None})
    for name, table in tables.items():
        if table is None:
            note(f'treering: {name} is not installed: pip install "treering[{name}]"')
        elif not json:
            _show(name, table)


def _settings(service: str, environment: dict[str, str]) -> list[Any] | None:
    """The settings of a service that is installed, as a service started with `environment` on top of ours would have them."""
    try:
        return list(answers(service, "commands.config", environment=environment))
    except NotInstalledError:
        return None
    except Refusal as refusal:
        raise Refusal(f"{service}: {refusal}") from refusal


def _show(service: str, table: list[dict[str, Any]]) -> None:
    answer(service)
    for each in table:
        changed = "" if each["value"] == each["default"] else f"  (default {each['default']})"
        answer(f"  {each['name']}={escape(str(each['value']))}{escape(changed)}")
        answer(f"      {escape(each['meaning'])}")
