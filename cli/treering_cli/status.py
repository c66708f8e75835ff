"""`treering status`: how the three services are."""

from typing import Annotated, Any

import typer

from treering_cli.connection import Connection
from treering_cli.escaping import escape
from treering_cli.output import answer, answer_json, rfc3339
from treering_cli.problems import REFUSED

_TIMEOUT_S = 10.0
"""How long a service may take to answer. One that is gone is known at once; one on a busy machine needs seconds."""


def status(*, connection: Connection, json: Annotated[bool, typer.Option("--json", help="Answer with JSON.")] = False) -> None:
    """Show how the three services are; exit code 1 when one does not answer, refuses records, has a problem, or parts with a sink."""
    from treering.errors import TreeringError  # noqa: PLC0415 - start-up

    answers: dict[str, dict[str, Any]] = {}
    with connection.client(timeout=_TIMEOUT_S) as client:
        calls = {"ingest": client.get_ingest_status, "embed": client.get_embed_status, "query": client.get_query_status}
        for name, call in calls.items():
            address = getattr(client.endpoints, name)
            try:
                answers[name] = {"address": address, "ok": True, **_as_json(call())}
            except TreeringError as error:
                answers[name] = {"address": address, "ok": False, "error": error.message}
    if json:
        answer_json(answers)
    else:
        _show(answers)
    if not all(_is_well(each) for each in answers.values()):
        raise typer.Exit(REFUSED)


def _is_well(found: dict[str, Any]) -> bool:
    is_parted = any(_is_parted(sink) for sink in found.get("sinks", ()))
    problems = ("problem", "retention_problem", "refusing_because")
    return found["ok"] and not is_parted and not any(found.get(name) for name in problems)


def _is_parted(sink: dict[str, Any]) -> bool:
    """Whether ingest has cut a sink off, or the sink refuses the log: neither ends by itself. One that is only away is seen by itself."""
    return bool(sink["is_ahead"] or sink["is_refusing"])


def _as_json(message: Any) -> dict[str, Any]:
    """Every field of a status by its name in the contract; ids as decimal strings, times as RFC 3339."""
    return {
        field.name: _named_value(field, getattr(message, field.name)) if _is_known(message, field) else None
        for field in message.DESCRIPTOR.fields
    }


def _is_known(message: Any, field: Any) -> bool:
    """Whether a value that may be absent is there; of a message each field is told."""
    return field.message_type is not None or not field.has_presence or message.HasField(field.name)


def _named_value(field: Any, value: Any) -> Any:
    """Values of enums by their names, without what all of them begin with."""
    if field.enum_type is None:
        return _value(field.name, value)
    names = field.enum_type.values_by_number
    prefix = names[0].name.removesuffix("UNSPECIFIED")
    return names[value].name.removeprefix(prefix).lower() if value in names else value


def _value(name: str, value: Any) -> Any:
    if name in {"log_id", "reindex_id"}:
        return str(value)
    if name.endswith("_time_unix_nano"):
        return rfc3339(value)
    if hasattr(value, "DESCRIPTOR"):
        return _as_json(value)
    if hasattr(value, "items"):
        return dict(sorted(value.items()))
    if hasattr(value, "extend"):
        return [_value("", item) for item in value]
    return value


def _show(answers: dict[str, dict[str, Any]]) -> None:
    for name, found in answers.items():
        state = "ok" if found["ok"] else "does not answer as it should"
        answer(f"{name}  {found['address']}  {state}")
        for key, value in found.items():
            if key not in {"address", "ok", "limits"}:
                _show_field(key, value)
        if found.get("quarantined_count"):
            answer(f"  some records could not be read and were set aside: treering quarantine list --sink {name}")


def _show_field(key: str, value: Any) -> None:
    label = key.removesuffix("_unix_nano").replace("_", " ")
    if isinstance(value, list | dict):
        for item in [value] if isinstance(value, dict) else value:
            text = ", ".join(f"{name.replace('_', ' ')} {_text(each)}" for name, each in item.items() if _says_something(name, each))
            answer(f"  {label}: {escape(text)}")
    elif value not in ("", None):
        answer(f"  {label}: {escape(_text(value))}")


def _says_something(name: str, value: Any) -> bool:
    """No and the offset 0 do; no text, and a count of nothing, do not."""
    return isinstance(value, bool) or name.endswith("offset") or value not in ("", 0, "0", None)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
