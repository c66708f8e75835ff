"""`treering verify`: does the store hold what the log holds, and the index what the store holds. `treering_query.reconciliation` looks."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from treering_cli.connection import Connection
from treering_cli.escaping import escape
from treering_cli.inner import Inner
from treering_cli.output import answer, answer_json
from treering_cli.problems import REFUSED
from treering_cli.programs import answers

if TYPE_CHECKING:
    from treering.errors import TreeringError

_SHOWN_DIFFERENCES = 50


def verify(
    *,
    connection: Connection,
    inner: Inner,
    timeout: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="Longest time of one question.")] = 120.0,
    json: Annotated[bool, typer.Option("--json", help="Answer with JSON.")] = False,
) -> None:
    """Compare log, store and index; exit code 1 when they differ. Reads everything: some seconds for each million records."""
    [report] = answers("query", "reconciliation", f"--timeout={timeout}", *_places(connection, inner))
    if "error" in report:
        raise _error(report["error"])
    if json:
        answer_json(report)
    else:
        _show(report)
    if not report["ok"]:
        raise typer.Exit(REFUSED)


def _places(connection: Connection, inner: Inner) -> Iterator[str]:
    """The options that say where the services are."""
    public, private = connection.endpoints(), inner.endpoints(connection)
    for name in ("ingest", "embed", "query"):
        yield f"--{name}={getattr(public, name)}"
        yield f"--inner-{name}={getattr(private, name)}"
    if private.tls:
        yield f"--inner-ca-file={private.tls.ca}"
        yield f"--inner-cert-file={private.tls.cert}"
        yield f"--inner-key-file={private.tls.key}"


def _error(told: Mapping[str, Any]) -> "TreeringError":
    """The error of a call that the program met."""
    from treering import errors  # noqa: PLC0415 - start-up

    kind: type[TreeringError] = getattr(errors, told["type"])
    return kind(told["message"], reason=told["reason"], metadata=told["metadata"], retry_after_s=told["retry_after_s"])


def _show(report: Mapping[str, Any]) -> None:
    answer(f"log {report['log_id']}: offsets 0 to {report['end_offset']} and {report['pattern_count']:,} patterns compared")
    differences = report["differences"]
    for line in (*map(_in_words, differences[:_SHOWN_DIFFERENCES]), *report["problems"]):
        answer(f"  DIFFERS  {escape(line)}")
    if len(differences) > _SHOWN_DIFFERENCES:
        answer(f"  DIFFERS  {len(differences) - _SHOWN_DIFFERENCES:,} more runs of offsets; --json has them all")
    for line in report["notes"]:
        answer(f"  note     {escape(line)}")
    answer("log, store and index agree" if report["ok"] else "log, store and index differ")


def _in_words(difference: Mapping[str, Any]) -> str:
    where = f"offsets {difference['first_offset']} to {difference['end_offset'] - 1}"
    expected, stored = difference["expected_count"], difference["store_count"]
    if expected == stored:
        return f"{where}: the same number of records, {stored:,}, with other content"
    holder = "the log holds" if difference["in_log"] else "there should be"
    return f"{where}: {holder} {expected:,} records, the store {stored:,}"
