"""Writes docs/settings.md, docs/limits.md and the table in docs/formats.md from the classes and modules that define them.

python tools/tables.py            writes them
python tools/tables.py --check    fails if writing would change anything
"""

import argparse
import ast
import importlib
import re
import sys
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from treering.v1 import admin_pb2, sink_pb2
from treering_embed import request_limits as embed
from treering_embed.settings import EmbedSettings
from treering_formats.catalog import CATALOG
from treering_ingest import request_limits as ingest
from treering_ingest.settings import IngestSettings
from treering_query import request_limits as query
from treering_query.settings import QuerySettings
from treering_runtime.request_limits import SHARED
from treering_runtime.settings import ServiceSettings

ROOT = Path(__file__).resolve().parent.parent
SETTINGS: tuple[type[ServiceSettings], ...] = (IngestSettings, EmbedSettings, QuerySettings)
LIMITS = ("treering_runtime.limits", "treering_ingest.limits", "treering_embed.limits", "treering_query.limits", "treering.limits")
_SETTINGS_HEAD = """# Settings

From the environment, or from one TOML file that `TREERING_CONFIG` names; the environment wins. A misspelt name is refused;
what Kubernetes sets for a Service (`TREERING_INGEST_SERVICE_HOST`, `TREERING_INGEST_PORT=tcp://...`) is none of these and is ignored.
`treering config` prints what is in force, secrets as asterisks. This page is written by `make tables`.
"""
_LIMITS_HEAD = """# Limits

What a sender, a question or an operator can meet, with its reason. What bounds the services inside stands with its reason in the modules
`limits` of the code; `treering status --json` has all in force. This page is written by `make tables`.
"""
SHOWN: Mapping[str, Mapping[str, str]] = {
    "Sending": {
        "treering_ingest.limits": "MAX_BATCH_BYTES MAX_BATCH_RECORDS MAX_RECORD_BYTES MAX_PRODUCER_ID_BYTES MAX_PRODUCERS "
        "PRODUCER_ACTIVE_S PRODUCER_HISTORY_BATCHES MAX_LISTED_REJECTIONS MAX_WAIT_FOR_ROOM_S MAX_STREAMS MAX_UNACKNOWLEDGED_BATCHES",
        "treering_runtime.limits": "MAX_NAME_BYTES MAX_TIME_UNIX_NANO MAX_PATTERN_TEXT_CHARACTERS STREAM_WINDOW_BYTES",
    },
    "Asking": {
        "treering_runtime.limits": "MAX_QUERY_TEXT_CHARACTERS MAX_MIN_POSITIONS MAX_MESSAGE_BYTES MAX_ANSWER_BYTES MAX_UNREAD_S "
        "MAX_UNREAD_BYTES MAX_OPEN_CALLS",
        "treering_query.limits": "MAX_SQL_CHARACTERS DEFAULT_SQL_ROWS MAX_SQL_ROWS DEFAULT_SQL_TIMEOUT_MS MAX_SQL_TIMEOUT_MS MAX_SQL_TEXTS "
        "MAX_BUCKETS MAX_AGGREGATE_ROWS MAX_PAGED_PATTERNS MAX_BACKLOG_RECORDS MAX_TAIL_BEHIND_RECORDS TAIL_HEARTBEAT_S DEFAULT_DEADLINE_S "
        "EXPORT_PATIENCE_S MAX_VARIABLE_RECORDS MAX_LISTED_MEMBERS",
        "treering_embed.limits": "MAX_WORDPIECES MAX_EMBED_TEXTS MAX_WAITING_SEARCHES",
    },
    "Running": {
        "treering_runtime.limits": "MAX_LOCAL_CONNECTIONS MAX_LOGS MIN_OPEN_FILES MAX_OPEN_FILES MAX_METRICS_CONNECTIONS METRICS_TIMEOUT_S",
        "treering_ingest.limits": "SINK_SILENCE_S RECONNECT_MAX_S VERIFY_AT_START_BYTES DISK_RETRY_S",
        "treering_embed.limits": "PROVEN_SHARE MIN_FREE_BYTES MAX_GIVING_WAY_S RETRY_MAX_S",
        "treering_query.limits": "RETURN_PATIENCE_S",
    },
    "The SDK": {
        "treering.limits": "LARGEST_BATCH_RECORDS LARGEST_BATCH_BYTES MAX_IN_FLIGHT_BATCHES MAX_PENDING_BYTES DRAIN_S RETRY_FOR_S "
        "DEFAULT_TIMEOUT_S",
    },
}
"""What the page on limits tells: by what people do, and by module."""
_FORMATS_PAGE = ROOT / "docs" / "formats.md"
_FORMATS = re.compile(r"(<!-- written by make tables -->\n).*?(<!-- until here -->)", re.DOTALL)
_BINARY_UNITS = {1024**3: "GiB", 1024**2: "MiB", 1024: "KiB"}


def settings_table(cls: type[ServiceSettings]) -> Iterator[str]:
    """One service's settings: the variable, its default, what it means."""
    prefix = str(cls.model_config.get("env_prefix", ""))
    yield f"**{cls.service}**: `{prefix}...`, or `[{cls.service}]` in the file that `TREERING_CONFIG` names\n"
    yield from _table(
        ("Setting", "Default", "Meaning"),
        ((f"`{name.upper()}`", _default(field), _line(field.description)) for name, field in cls.model_fields.items()),
    )


def _default(field: FieldInfo) -> str:
    default = field.default.value if isinstance(field.default, Enum) else field.default
    return f"`{default}`" if str(default) else "empty"


def limits_table(head: str, names_by_module: Mapping[str, str]) -> Iterator[str]:
    """The limits that one kind of people meets: the name, its value, its reason.

    Raises:
        KeyError: A module has no such constant any more.
    """
    yield f"**{head}**\n"
    rows = []
    for module, names in names_by_module.items():
        known = {name: (value, reason) for name, value, reason in constants(module)}
        rows += [(f"`{name}`", _quantity(name, known[name][0]), _line(known[name][1])) for name in names.split()]
    yield from _table(("Limit", "Value", "Unit and reason"), iter(rows))


def requests_table() -> Iterator[str]:
    """What each field of a request may hold, rpc's own messages and those inside them."""
    yield "**Requests**: what a field may hold; more is refused with INVALID_FIELD, which names the field and the limit\n"
    rows = [row for table in (SHARED, ingest.LIMITS, embed.LIMITS, query.LIMITS) for row in table.items()]
    # Messages of the inner plane are the services' own affair.
    inner = {name for file in (admin_pb2, sink_pb2) for name in file.DESCRIPTOR.message_types_by_name}
    shown = ((f"`{name}`", _line(str(limit))) for name, limit in rows if name.partition(".")[0] not in inner)
    yield from _table(("Field", "At most"), shown)


def formats_page() -> str:
    """The page of formats with its table as it should be; what people wrote around it stays."""
    rows = ((f"`{each.name}`", _line(each.description), f"`{each.example.replace('|', chr(92) + '|')}`") for each in CATALOG)
    table = "\n".join(_table(("Format", "What writes it", "For example"), rows))
    return _FORMATS.sub(lambda match: f"{match[1]}\n{table}{match[2]}", _FORMATS_PAGE.read_text())


def constants(module: str) -> list[tuple[str, Any, str]]:
    """Name, value and docstring of each public constant of a module, in its order.

    Raises:
        ValueError: A constant has no docstring.
    """
    loaded = importlib.import_module(module)
    body = ast.parse(Path(str(loaded.__file__)).read_text()).body
    found = []
    for statement, following in zip(body, [*body[1:], None], strict=True):
        name = _constant(statement)
        if name:
            found.append((name, getattr(loaded, name), _docstring(following, f"{module}.{name}")))
    return found


def _constant(statement: ast.stmt) -> str:
    target = (
        statement.targets[0] if isinstance(statement, ast.Assign) else statement.target if isinstance(statement, ast.AnnAssign) else None
    )
    return target.id if isinstance(target, ast.Name) and target.id.isupper() and not target.id.startswith("_") else ""


def _docstring(statement: ast.stmt | None, name: str) -> str:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant) and isinstance(statement.value.value, str):
        return statement.value.value
    raise ValueError(f"{name} has no docstring: give its unit and its reason")


def _quantity(name: str, value: Any) -> str:
    if isinstance(value, int) and "BYTES" in name:
        for size, unit in _BINARY_UNITS.items():
            if value and value % size == 0:
                return f"{value // size} {unit}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _line(text: str | None) -> str:
    return re.sub(r"\s+", " ", text or "").strip().replace("|", "\\|")


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    for row in (head, ("---",) * len(head), *rows):
        yield "| " + " | ".join(row) + " |"
    yield ""


def documents() -> dict[Path, str]:
    """The pages as they should be, by path."""
    for module in LIMITS:
        # Also of what is not shown: each says its unit and its reason.
        constants(module)
    settings = [line for cls in SETTINGS for line in settings_table(cls)]
    limits = [*(line for head, names in SHOWN.items() for line in limits_table(head, names)), *requests_table()]
    return {
        ROOT / "docs" / "settings.md": "\n".join([_SETTINGS_HEAD, *settings]),
        ROOT / "docs" / "limits.md": "\n".join([_LIMITS_HEAD, *limits]),
        _FORMATS_PAGE: formats_page(),
    }


def main() -> int:
    """Writes the pages, or with --check compares."""
    parser = argparse.ArgumentParser(description="The pages of settings and limits")
    parser.add_argument("--check", action="store_true", help="compare with the pages instead of writing them")
    if not parser.parse_args().check:
        for path, text in documents().items():
            path.write_text(text)
        return 0
    stale = [path.name for path, text in documents().items() if not path.exists() or path.read_text() != text]
    if stale:
        print(f"stale: {', '.join(stale)}; run `make tables`", file=sys.stderr)
    return int(bool(stale))


if __name__ == "__main__":
    sys.exit(main())
