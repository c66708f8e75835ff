"""The pattern table as questions see it: each pattern with the template that it belongs to."""

from collections.abc import Sequence

import pyarrow as pa

from treering_query.store.view import LISTED_SCHEMA, PATTERNS_SCHEMA
from treering_query.templates import Templates


def listed(patterns: pa.Table, templates: Templates) -> pa.Table:
    """Rows of `PATTERNS_SCHEMA` (or of the result's own schema) with their templates; a pattern of no template is one by itself."""
    ids, texts = patterns.column("pattern_id").to_pylist(), patterns.column("text").to_pylist()
    chosen = [templates.template_ids.get(identity, identity) for identity in ids]
    found = (templates.by_id.get(identity) for identity in chosen)
    names = [template.text if template else text for template, text in zip(found, texts, strict=True)]
    columns = [*patterns.select(PATTERNS_SCHEMA.names).columns, pa.array(chosen, pa.uint64()), pa.array(names, pa.string())]
    return pa.table(columns, schema=LISTED_SCHEMA)


def whole(tables: Sequence[pa.Table]) -> pa.Table:
    """Tables of `LISTED_SCHEMA` as one."""
    return pa.concat_tables([LISTED_SCHEMA.empty_table(), *tables]).combine_chunks()
