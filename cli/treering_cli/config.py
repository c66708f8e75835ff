"""`treering config`: the settings in force."""

import importlib
import json as json_module
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from treering_cli.escaping import escape
from treering_cli.instance import DEFAULT_DATA_DIR, running_instance
from treering_cli.output import answer, answer_json, note
from treering_cli.problems import Refusal

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
    tables = {name: _settings(name, environment) for name in _SERVICES}
    if json:
        answer_json({name: table for name, table in tables.items() if table is not None})
    for name, table in tables.items():
        if table is None:
            note(f'treering: {name} is not installed: pip install "treering[{name}]"')
        elif not json:
            _show(name, table)


def _settings(service: str, environment: dict[str, str]) -> list[dict[str, Any]] | None:
    """The settings of a service that is installed, as a service started with `environment` on top of ours would have them."""
    try:
        module = importlib.import_module(f"treering_{service}.settings")
        from treering_runtime.errors import StartError  # noqa: PLC0415 - not everywhere installed
        from treering_runtime.settings import ServiceSettings, load  # noqa: PLC0415
    except ImportError:
        return None
    cls = next(
        each
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, ServiceSettings) and each.__module__ == module.__name__
    )
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        values = load(cls)
    except StartError as error:
        raise Refusal(f"{service}: {error}") from error
    finally:
        os.environ.clear()
        os.environ.update(before)
    prefix = cls.model_config.get("env_prefix", "")
    return [
        {
            "name": f"{prefix}{name}".upper(),
            "value": _plain(getattr(values, name)),
            "default": _plain(field.get_default(call_default_factory=True)) if not field.is_required() else None,
            "meaning": " ".join((field.description or "").split()),
        }
        for name, field in cls.model_fields.items()
    ]


def _plain(value: Any) -> Any:
    """A value as JSON has it; a secret is asterisks, as its text is."""
    return json_module.loads(json_module.dumps(value, default=str))


def _show(service: str, table: list[dict[str, Any]]) -> None:
    answer(service)
    for each in table:
        changed = "" if each["value"] == each["default"] else f"  (default {each['default']})"
        answer(f"  {each['name']}={escape(str(each['value']))}{escape(changed)}")
        answer(f"      {escape(each['meaning'])}")
