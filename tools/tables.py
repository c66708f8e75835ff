"""Writes docs/settings.md, docs/limits.md and the table in docs/formats.md from the classes and modules that define them.

python tools/tables.py            writes them
python tools/tables.py --check    fails if writing would change anything
"""

import argparse
import ast
import importlib
import re
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

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

What is fixed, with its reason. `treering status --json` has those in force. This page is written by `make tables`.
"""
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


def limits_table(module: str) -> Iterator[str]:
    """One module's limits: the name, its value, its reason."""
    yield f"**{module}**\n"
    yield from _table(
        ("Limit", "Value", "Unit and reason"),
        ((f"`{name}`", _quantity(name, value), _line(reason)) for name, value, reason in constants(module)),
    )


def requests_table() -> Iterator[str]:
    """What each field of a request may hold, rpc's own messages and those inside them."""
    yield "**Requests**: what a field may hold; more is refused with INVALID_FIELD, which names the field and the limit\n"
    tables = (SHARED, ingest.LIMITS, embed.LIMITS, query.LIMITS)
    yield from _table(("Field", "At most"), ((f"`{name}`", _line(str(limit))) for rows in tables for name, limit in rows.items()))


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
    settings = [line for cls in SETTINGS for line in settings_table(cls)]
    limits = [*(line for module in LIMITS for line in limits_table(module)), *requests_table()]
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
