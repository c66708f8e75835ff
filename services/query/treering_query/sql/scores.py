"""What `meaning()` and `about()` are while one query runs: macros over a small table that the parent sends."""

import re
import secrets
from collections.abc import Sequence

import duckdb
import pyarrow as pa

from treering_query.values.quoting import quoted

# Scores come as one column for each text; the macros want rows. Views copy nothing.
_VIEW = "select pattern_{token}, {text} as text_{token}, score_{column} as score_{token} from temp.main._wide_{token}"

_MEANING = """create macro meaning(pattern_id, text) as coalesce((
    select any_value(score_{token}) from temp.main._scores_{token}
    where pattern_{token} = pattern_id::ubigint and text_{token} = text
), 0::float)"""

_ABOUT = """create macro about(pattern_id, text) as coalesce(pattern_id::ubigint in (
    select pattern_{token} from temp.main._scores_{token} where text_{token} = text and score_{token} >= 0.5
), false)"""
"""The same as `meaning(...) >= 0.5`, in the form of a semi-join: three to five times as fast, and it prunes what is read."""


_OWN_NAME = re.compile(r', "(?:pattern|text|score)_[0-9a-f]{16}"|"(?:pattern|text|score)_[0-9a-f]{16}"(?:, )?')
_NO_CANDIDATES = "\nCandidate bindings: "


def without_own_names(message: str) -> str:
    """A message of the database without the names of the macros' own columns, which it may propose for an unknown one."""
    # The names have a random part that would be new in each answer, and says nothing to the user.
    return _OWN_NAME.sub("", message).removesuffix(_NO_CANDIDATES)


def hint(message: str) -> str:
    """What to add to a message of the database that speaks of subqueries which the user did not write."""
    return "; meaning() and about() are subqueries to the database: compute them in a CTE first" if "subquer" in message else ""


def define(connection: duckdb.DuckDBPyConnection, texts: Sequence[str], scores: pa.Table) -> None:
    """Defines the macros for some texts.

    Args:
        connection: Where the query will run.
        texts: The texts, each once.
        scores: The pattern ids (uint64), then the scores (float) of each text in a column of its own; names do not matter.
    """
    # A macro is bound where it is used: nothing in the query may have the name of anything in it, or would be taken for it.
    token = secrets.token_hex(8)
    columns = [f"pattern_{token}", *(f"score_{number}" for number in range(len(texts)))]
    # Names of our own, which nothing in the query can have.
    connection.register(f"_wide_{token}", scores.rename_columns(columns))
    # Quoted, not bound: a view takes no parameters. The texts are the user's own, and nothing outside can be reached.
    parts = [_VIEW.format(token=token, text=quoted(text), column=number) for number, text in enumerate(texts)]
    connection.execute(f"create temp view _scores_{token} as {' union all '.join(parts)}")
    connection.execute(_MEANING.format(token=token))
    connection.execute(_ABOUT.format(token=token))
