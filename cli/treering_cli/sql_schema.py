"""What there is to ask in SQL: tables, columns and Treering's own functions, one sentence each. Types come from the service."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from treering_cli.output import answer, answer_json, answer_table

if TYPE_CHECKING:
    from treering import Client

_TIMES = "nanoseconds, UTC"
_SERVICE = "The program that wrote it, for example `checkout`."
_PATTERN_ID = "The pattern: the number of its service and masked message."


@dataclass(frozen=True)
class Table:
    """One table: what a row is, and what each column holds."""

    name: str
    about: str
    columns: Mapping[str, str]


@dataclass(frozen=True)
class Function:
    """One function of Treering's own, beside those of DuckDB."""

    name: str
    type: str
    about: str


TABLES = (
    Table(
        "logs",
        "A row for each record.",
        {
            "log_id": "The log that the record came from, with `offset` its identity.",
            "offset": 'Its number in that log, from 0; a reserved word, so write "offset".',
            "time": f"When it happened, {_TIMES}.",
            "arrival_time": f"When it was accepted, {_TIMES}.",
            "severity": "How serious it is, OpenTelemetry's number: 9 is INFO, 13 WARN, 17 ERROR, 0 unspecified.",
            "severity_text": "The same as a word: 'ERROR', 'ERROR2', 'UNSPECIFIED'.",
            "service": _SERVICE,
            "environment": "Where it ran, for example `prod`.",
            "message": "The text.",
            "attributes": "Everything else, text to text: attributes['ms']::int is a number, NULL where it is missing.",
            "resource": "Those of them that were sent once for a whole batch; the record's own may have another value.",
            "trace_id": "The trace, 32 hex digits; empty or NULL where there is none.",
            "span_id": "The span, 16 hex digits; empty or NULL where there is none.",
            "pattern_id": _PATTERN_ID,
        },
    ),
    Table(
        "patterns",
        "A row for each pattern with a record: a service and a message with its variable parts masked.",
        {
            "pattern_id": _PATTERN_ID,
            "service": _SERVICE,
            "text": "The masked message; <*> stands for a variable part.",
            "example": "One real message.",
            "count": "Records.",
            "first_time": f"Time of the first record, {_TIMES}.",
            "last_time": f"Time of the last record, {_TIMES}.",
            "template_id": "The template that it belongs to.",
        },
    ),
    Table(
        "templates",
        "A row for each template: patterns that differ in one variable word, or in the service, taken together.",
        {
            "template_id": "The template: the pattern_id of its oldest pattern.",
            "text": "What its patterns have in common.",
            "services": "The services of its patterns.",
            "pattern_count": "Patterns.",
            "count": "Records.",
            "first_time": f"Time of the first record, {_TIMES}.",
            "last_time": f"Time of the last record, {_TIMES}.",
        },
    ),
)

FUNCTIONS = (
    Function("meaning(pattern_id, 'text')", "FLOAT", "How well the pattern fits the text, 0 to 1, whatever its words."),
    Function("about(pattern_id, 'text')", "BOOLEAN", "Whether that is at least 0.5: usable wherever a condition is."),
)


def show(client: "Client", *, json: bool) -> None:
    """Answers with the schema."""
    schema = {"tables": [_described(client, table) for table in TABLES], "functions": [asdict(function) for function in FUNCTIONS]}
    if json:
        answer_json(schema)
        return
    for table in schema["tables"]:
        answer(f"{table['name']}: {table['about']}")
        answer_table(["column", "type", ""], [[column["name"], column["type"], column["about"]] for column in table["columns"]])
    answer("Functions, besides those of DuckDB:")
    answer_table(["function", "type", ""], [[function.name, function.type, function.about] for function in FUNCTIONS])


def _described(client: "Client", table: Table) -> dict[str, Any]:
    """A table as the service has it, with what its columns hold."""
    rows = client.sql(f"describe {table.name}").rows()
    columns = [{"name": row["column_name"], "type": row["column_type"], "about": table.columns.get(row["column_name"], "")} for row in rows]
    return {"name": table.name, "about": table.about, "columns": columns}
