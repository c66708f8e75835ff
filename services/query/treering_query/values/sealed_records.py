"""The records of Parquet files of ours as a relation of SQL."""

from collections.abc import Iterable, Sequence
from pathlib import Path


def sealed_records(plain: Iterable[str | Path], with_resources: Iterable[str | Path]) -> str:
    """A relation over files, at least one, with the columns of the store.

    Args:
        plain: Files whose records have no resource: they have no column for it, as those of versions that knew none.
        with_resources: The others.
    """
    parts = []
    if files := list(plain):
        parts.append(f"select *, '' as resource from {_read(files)}")
    if files := list(with_resources):
        parts.append(f"select * from {_read(files)}")
    # By name: where the column is added it stands elsewhere.
    return "(" + " union all by name ".join(parts) + ")"


def _read(files: Sequence[str | Path]) -> str:
    # Quoted, not bound: DuckDB takes no parameters in the definition of a view, and none as a part of a relation. The names are ours.
    names = ", ".join("'" + str(file).replace("'", "''") + "'" for file in files)
    return f"read_parquet([{names}])"
