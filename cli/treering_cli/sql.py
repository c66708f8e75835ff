"""`treering sql`: one SELECT."""

import json as json_module
import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from treering_cli.connection import Connection
from treering_cli.costs import Costs
from treering_cli.escaping import escape_lines, to_json
from treering_cli.output import answer, answer_json, answer_table, note
from treering_cli.problems import REFUSED, Refusal, error_object, explain_at_place
from treering_cli.spreadsheet import ForSpreadsheet, check_form

if TYPE_CHECKING:
    from treering.client import Client


def sql(
    statement: Annotated[
        str | None,
        typer.Argument(metavar="QUERY", help="One SELECT over the tables logs, patterns and templates; - reads it from standard input."),
    ] = None,
    *,
    connection: Connection,
    costs: Costs,
    format: Annotated[  # noqa: A002 - the option's name
        Literal["table", "json", "csv", "arrow"] | None, typer.Option(help="table (default), json: a list of objects, csv, or arrow: IPC.")
    ] = None,
    max_rows: Annotated[int, typer.Option(min=1, max=10_000_000, help="Stop after this many rows.")] = 100_000,
    timeout: Annotated[float, typer.Option(min=0.001, max=600, help="Stop the query after this time, seconds.")] = 30.0,
    json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    for_spreadsheet: ForSpreadsheet = False,
    schema: Annotated[bool, typer.Option("--schema", help="Show tables, columns and Treering's own functions instead.")] = False,
) -> None:
    """Run one read-only SELECT over the tables logs, patterns and templates.

    With --json an error is an object too, on standard error: {"error": {"reason", "message", "line", "position"}}.
    """
    if json and format not in {None, "json"}:
        raise typer.BadParameter("--json and --format say different things; use one of them")
    if schema:
        from treering_cli.sql_schema import show  # noqa: PLC0415 - start-up

        with connection.client() as client:
            show(client, json=json or format == "json")
        return
    check_form("csv" if not json and format == "csv" else "", for_spreadsheet=for_spreadsheet)
    text = sys.stdin.read() if statement == "-" else statement or ""
    if not text.strip():
        raise typer.BadParameter("the query is empty; for example: treering sql 'select count(*) from logs'")
    form = "json" if json else format or "table"
    with connection.client() as client:
        result = _run(client, text, form, max_rows=max_rows, timeout_ms=max(1, round(timeout * 1000)))
    _write(result, form, for_spreadsheet=for_spreadsheet)
    if result.summary.degraded_because:
        note(f"treering: {result.summary.degraded_because}")
    if result.summary.truncated:
        note(f"treering: only the first {result.summary.row_count:,} rows; ask for more with --max-rows")
    costs.show(result.summary.cost, json=form == "json")


def _run(client: "Client", text: str, form: str, *, max_rows: int, timeout_ms: int) -> Any:
    from treering.errors import SqlError, TreeringError  # noqa: PLC0415 - start-up

    try:
        return client.sql(text, max_rows=max_rows, timeout_ms=timeout_ms)
    except TreeringError as error:
        if form == "json":
            note(to_json(error_object(error)))
            raise typer.Exit(REFUSED) from error
        if isinstance(error, SqlError):
            raise Refusal(explain_at_place(error, text)) from error
        raise


def _write(result: Any, form: str, *, for_spreadsheet: bool) -> None:
    from treering_cli.sql_values import csv_text, json_text, text_rows  # noqa: PLC0415 - start-up

    if form == "arrow":
        if sys.stdout.isatty():
            raise Refusal("Arrow IPC is not for terminals; send it to a file: treering sql ... --format arrow > rows.arrows")
        sys.stdout.flush()
        sys.stdout.buffer.write(result.arrow_ipc)
        return
    table = result.table()
    if form == "json":
        # One line, exactly; a person at a terminal gets it indented.
        answer_json(json_module.loads(json_text(table))) if sys.stdout.isatty() else answer(json_text(table))
    elif form == "csv":
        text = csv_text(table, for_spreadsheet=for_spreadsheet)
        answer((escape_lines(text) if sys.stdout.isatty() else text).removesuffix("\n"))
    else:
        rows, numeric = text_rows(table)
        answer_table(table.column_names, rows, right=numeric)
        cost = result.summary.cost
        note(f"{table.num_rows:,} row{'s' if table.num_rows != 1 else ''} in {cost.wait_ms + cost.work_ms} ms")
