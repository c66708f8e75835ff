"""`treering reindex`: every pattern is embedded anew, while searches go on."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from treering_cli.connection import Connection
from treering_cli.escaping import escape
from treering_cli.inner import Inner
from treering_cli.output import answer, answer_json, note
from treering_cli.problems import Refusal

if TYPE_CHECKING:
    from treering.client import Client
    from treering.v1.embed_pb2 import GetEmbedStatusResponse

_POLL_S = 0.5
_SAY_EVERY_S = 5.0
_PATIENCE_S = 60.0
"""How long the service may be away (a restart) before waiting for it ends, seconds."""


def reindex(
    *,
    connection: Connection,
    inner: Inner,
    model: Annotated[
        str,
        typer.Option(help="Another model, one of those that the setting `models` of the embed service lists.", show_default=False),
    ] = "",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the end, and say how far it is.")] = True,
    json: Annotated[bool, typer.Option("--json", help="Answer with JSON.")] = False,
) -> None:
    """Embed every pattern anew, with the model in use or another one.

    Searches go on with the old index until the new one is complete; a restart goes on where it was. The model holds from then on, until the
    setting `model` of the embed service is changed. Ctrl-C ends the waiting, not the work.
    """
    with inner.admin(connection) as admin, connection.client() as client:
        begun = admin.start_reindex(_named(model))
        if not wait:
            _answer(_as_dict(begun.reindex), json=json)
            return
        started = time.monotonic()
        found = _follow(client)
    if found.reindex.problem:
        raise Refusal(f"the index was not made anew: {found.reindex.problem}")
    _answer({**_as_dict(found.reindex), "seconds": round(time.monotonic() - started, 1)}, json=json)


def _named(model: str) -> str:
    """A path as the service can read it, whose working directory is another one."""
    path = Path(model).expanduser()
    return str(path.absolute()) if model and path.is_dir() else model


def _follow(client: "Client") -> "GetEmbedStatusResponse":
    from treering.v1.embed_pb2 import REINDEX_PHASE_EMBEDDING, REINDEX_PHASE_PREPARING  # noqa: PLC0415 - start-up

    said = ""
    said_at = 0.0
    while (found := _status(client)).reindex.phase in {REINDEX_PHASE_PREPARING, REINDEX_PHASE_EMBEDDING}:
        line = _line(_as_dict(found.reindex))
        if line != said and (time.monotonic() - said_at >= _SAY_EVERY_S or line.split()[0] not in said):
            note(line)
            said, said_at = line, time.monotonic()
        time.sleep(_POLL_S)
    return found


def _status(client: "Client") -> "GetEmbedStatusResponse":
    """Outlives a restart of the service, which goes on with what it was doing, and a busy machine."""
    from treering.errors import TRANSIENT  # noqa: PLC0415 - start-up

    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        try:
            if (found := client.get_embed_status()).index_ready:
                return found
        except TRANSIENT:
            pass
        time.sleep(_POLL_S)
    raise Refusal("the embed service does not answer any more; once it does, it goes on with the work: treering status")


def _as_dict(status: Any) -> dict[str, Any]:
    phase = type(status).DESCRIPTOR.fields_by_name["phase"].enum_type.values_by_number[status.phase].name
    return {
        "phase": phase.removeprefix("REINDEX_PHASE_").lower(),
        "model": status.model,
        "done_count": status.done_count,
        "total_count": status.total_count,
        "problem": status.problem,
    }


def _line(found: dict[str, Any]) -> str:
    problem = f"; {found['problem']}" if found["problem"] else ""
    return escape(f"{found['phase']} {found['done_count']:,} of {found['total_count']:,} patterns, model {found['model']}{problem}")


def _answer(found: dict[str, Any], *, json: bool) -> None:
    if json:
        answer_json(found)
    else:
        answer(_line(found) + (f", {found['seconds']} s" if "seconds" in found else ""))
