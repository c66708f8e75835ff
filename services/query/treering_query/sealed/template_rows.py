"""Templates in the catalog: what passes have found, so that an id once shown stays valid after a restart."""

import duckdb
import pyarrow as pa

from treering_query.sealed.duckdb_file import DuckDbFile
from treering_query.templates import Template, Templates, TemplatesChange

TEMPLATE_TABLES = """
create table if not exists templates (template_id ubigint, text varchar, open_positions usmallint[], place ubigint);
create table if not exists template_members (pattern_id ubigint, template_id ubigint);
"""
"""`place` is the order of age: it grows with each template and never changes."""

# Types are given: of an empty list Arrow would guess `null`, and the statement would not bind.
_TEMPLATES = pa.schema(
    [
        pa.field("template_id", pa.uint64()),
        pa.field("text", pa.string()),
        pa.field("open_positions", pa.list_(pa.uint16())),
    ]
)
_MEMBERS = pa.schema([pa.field("pattern_id", pa.uint64()), pa.field("template_id", pa.uint64())])


class TemplateRows:
    """The catalog's rows about templates. Belongs to the thread of the catalog's file."""

    def __init__(self, file: DuckDbFile) -> None:
        self._file = file

    def load(self) -> Templates:
        """What was saved last, oldest template first."""
        run = self._file.connection
        # By `place`: a dict keeps this order, and the joining of templates prefers the older one.
        rows = run.execute("select template_id, text, open_positions from templates order by place").fetchall()
        # Expired patterns too: when one comes back, it is in its template again.
        members = dict(run.execute("select pattern_id, template_id from template_members").fetchall())
        return Templates({identity: Template(identity, text, frozenset(opened)) for identity, text, opened in rows}, members)

    def save(self, change: TemplatesChange) -> None:
        """Makes a change last, whole or not at all."""
        # A member that names a template which is not there would have no text to show.
        self._file.atomically(lambda: self._write(change))

    def _write(self, change: TemplatesChange) -> None:
        run = self._file.connection
        run.execute("delete from templates where template_id in (select unnest($1::ubigint[]))", [list(change.gone)])
        run.execute("delete from template_members where pattern_id in (select unnest($1::ubigint[]))", [list(change.forgotten)])
        _with(run, _rows(change.grown), "update templates set text = n.text, open_positions = n.open_positions from _new n where {same}")
        _with(
            run,
            _rows(change.new),
            # Behind all that there are, in the order of the change.
            "insert into templates select *, (select coalesce(max(place), 0) from templates) + row_number() over () from _new",
        )
        # An assignment replaces the one before: without a key, deleted first, then inserted.
        members = pa.table([list(change.moved), list(change.moved.values())], schema=_MEMBERS)
        _with(run, members, "delete from template_members where pattern_id in (select pattern_id from _new)")
        _with(run, members, "insert into template_members from _new")


def _rows(templates: list[Template]) -> pa.Table:
    # Sorted: equal sets become equal lists, whatever the order of a set.
    opened = [sorted(template.open_positions) for template in templates]
    return pa.table([[template.id for template in templates], [template.text for template in templates], opened], schema=_TEMPLATES)


def _with(run: duckdb.DuckDBPyConnection, table: pa.Table, statement: str) -> None:
    # The name may still stand for the table of a statement that failed; it is replaced.
    run.register("_new", table)
    run.execute(statement.format(same="templates.template_id = n.template_id"))
    run.unregister("_new")
