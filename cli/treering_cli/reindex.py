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
    from treering.v1.embed_pb2 import GetEmbedStatusResponse, ReindexStatus

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
    request_id: Annotated[
        str,
        typer.Option(
            metavar="TEXT", help="A name for this order: repeated with it after a lost answer, nothing begins twice.", show_default=False
        ),
    ] = "",
    cancel: Annotated[bool, typer.Option("--cancel", help="Give up the reindex that runs; the index that answers stays.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the end, and say how far it is.")] = True,
    json: Annotated[bool, typer.Option("--json", help="Answer with JSON.")] = False,
) -> None:
    """Embed every pattern anew, with the model in use or another one.

    Searches go on with the old index until the new one is complete; a restart goes on where it was. The model holds from then on, until the
    setting `model` of the embed service is changed. Ctrl-C ends the waiting, not the work; `treering reindex --cancel` ends the work.
    """
    if cancel and (model or request_id):
        raise typer.BadParameter("--cancel takes neither --model nor --request-id; it gives up the reindex that runs")
    started = time.monotonic()
    with inner.admin(connection) as admin, connection.client() as client:
        ordered = admin.cancel_reindex() if cancel else admin.start_reindex(_named(model), request_id=request_id)
        found = _followed(client, ordered.reindex) if wait else ordered.reindex
    if wait:
        _check_end(found, cancel=cancel)
    _answer({**_as_dict(found), **({"seconds": round(time.monotonic() - started, 1)} if wait else {})}, json=json)


def _check_end(found: "ReindexStatus", *, cancel: bool) -> None:
    """Refuses an end that was not asked for."""
    from treering.v1.embed_pb2 import REINDEX_PHASE_CANCELLED  # noqa: PLC0415 - start-up

    is_cancelled = found.phase == REINDEX_PHASE_CANCELLED
    if cancel and not is_cancelled:
        raise Refusal(f"it was too late to cancel: {_line(_as_dict(found))}")
    if is_cancelled and not cancel:
        raise Refusal("the reindex was cancelled; the index that was there goes on answering")
    if found.problem:
        raise Refusal(f"the index was not made anew: {found.problem}")


def _named(model: str) -> str:
    """A path as the service can read it, whose working directory is another one."""
    path = Path(model).expanduser()
    return str(path.absolute()) if model and path.is_dir() else model


def _followed(client: "Client", ordered: "ReindexStatus") -> "ReindexStatus":
    """How a reindex ended."""
    from treering.v1.embed_pb2 import REINDEX_PHASE_EMBEDDING, REINDEX_PHASE_PREPARING  # noqa: PLC0415 - start-up

    # One that was asked for under its request id may have ended long ago, and another one may run.
    if ordered.phase not in {REINDEX_PHASE_PREPARING, REINDEX_PHASE_EMBEDDING}:
        return ordered
    try:
        return _follow(client)
    except KeyboardInterrupt:
        note("treering: the reindex goes on; `treering status` says how far it is, `treering reindex --cancel` gives it up")
        raise


def _follow(client: "Client") -> "ReindexStatus":
    from treering.v1.embed_pb2 import REINDEX_PHASE_EMBEDDING, REINDEX_PHASE_PREPARING  # noqa: PLC0415 - start-up

    said = ""
    said_at = 0.0
    while (found := _status(client).reindex).phase in {REINDEX_PHASE_PREPARING, REINDEX_PHASE_EMBEDDING}:
        line = _line(_as_dict(found))
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
        "reindex_id": str(status.reindex_id),
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
