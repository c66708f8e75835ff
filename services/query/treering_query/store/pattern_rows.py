"""The pattern table as questions see it: each pattern with the template that it belongs to."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from treering_query.templates import Templates
from treering_query.values.schemas import LISTED_SCHEMA, PATTERNS_SCHEMA


def listed(patterns: pa.Table, templates: Templates) -> pa.Table:
    """Rows of `PATTERNS_SCHEMA` (or of the result's own schema) with their templates; a pattern of no template is one by itself."""
    ids = patterns.column("pattern_id").to_pylist()
    # Python, a step for each pattern: the caller is on a thread, or has the few patterns of one delivery.
    chosen = [templates.template_ids.get(identity, identity) for identity in ids]
    found = map(templates.by_id.get, chosen)
    names = pa.array([template.text if template else None for template in found], pa.string())
    # A template by itself is shown with the pattern's own text.
    named = pc.coalesce(names, patterns.column("text"))
    columns = [*patterns.select(PATTERNS_SCHEMA.names).columns, pa.array(chosen, pa.uint64()), named]
    return pa.table(columns, schema=LISTED_SCHEMA)


def whole(tables: Sequence[pa.Table]) -> pa.Table:
    """Tables of `LISTED_SCHEMA` as one."""
    # With an empty table in front there is a schema also when there is none.
    return pa.concat_tables([LISTED_SCHEMA.empty_table(), *tables]).combine_chunks()
