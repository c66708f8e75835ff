"""Many ways to write one hostile statement: what a person, a program or a fuzzer would try next."""

from collections.abc import Iterator

_WORDS = ("select", "from", "copy", "insert", "update", "delete", "drop", "create", "attach", "set", "pragma", "call", "install", "load")


def forms(statement: str) -> Iterator[str]:
    """The statement in other clothes. Each is still hostile, or no SQL any more."""
    yield statement
    yield statement.swapcase() if "{" not in statement and "'" not in statement else f" \t{statement}"
    yield f"/* select 1 */ {statement}"
    yield f"-- from logs\n{statement}"
    yield f"{statement} -- from logs"
    yield f"{statement};"
    yield f"select 1; {statement}"
    yield f"{statement}; select 1"
    yield f"\n\n\t{statement}\r\n"
    yield f"\u00a0{statement}"
    yield f"\u200b{statement}\u2028"
    yield _spread(statement)
    if statement.lower().startswith(("select", "from", "with", "pivot", "values", "(")):
        yield f"with q as ({statement}) select * from q"
        yield f"with q as materialized ({statement}) from q"
        yield f"select * from ({statement}) as logs"
        yield f"select exists ({statement})"
        yield f"select count(*) from logs where message in ({statement})"
        yield f"select 1 union all ({statement})"
        yield f"from logs, lateral ({statement})"
        yield f"select case when severity > 0 then ({statement}) end from logs"


def _spread(statement: str) -> str:
    """Comments for the white space after key words."""
    for word in _WORDS:
        statement = statement.replace(f"{word} ", f"{word}/**/\n")
    return statement
