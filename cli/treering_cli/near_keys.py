"""A hint where a filter asks for an attribute that no record has: a misspelt key selects nothing, or everything, and is no error."""

import difflib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from treering_cli.escaping import escape
from treering_cli.output import note

if TYPE_CHECKING:
    from treering.v1.log_pb2 import LogFilter

_MOST_KEYS = 10_000
"""Keys that are looked through; where there are more, nothing is known of a key that is not among them."""

_NEAR = 0.6
"""How alike two keys must be, as `difflib` has it: `statsu` and `status` are 0.83."""


def hint(client: Any, selected: "LogFilter") -> None:
    """Says on stderr which attributes of a filter no record has that was looked at, and which keys are near."""
    from treering.errors import TreeringError  # noqa: PLC0415 - start-up

    # Looked up only where attributes are asked for: it reads the attributes of the same records as the question.
    if not (asked := dict.fromkeys(asked_keys(selected))):
        return
    try:
        known = _known_keys(client, selected)
    except TreeringError:  # the answer stands: a hint is not worth an error
        return
    for key in asked if known else ():
        if key not in known:
            note(f"treering: no record that was looked at has the attribute {escape(key)!r}{_near(key, known)}")


def asked_keys(selected: "LogFilter") -> Iterator[str]:
    """The keys of attributes that a filter names, wherever in it."""
    yield from (attribute.key for attribute in selected.attributes)
    for branch in (*selected.all_of, *selected.any_of, *selected.none_of):
        yield from asked_keys(branch)


def _near(key: str, known: Iterable[str]) -> str:
    lowered = {each.lower(): each for each in known}
    found = [escape(lowered[each]) for each in difflib.get_close_matches(key.lower(), lowered, cutoff=_NEAR)]
    return f"; near: {', '.join(found)}" if found else ""


def _known_keys(client: Any, selected: "LogFilter") -> frozenset[str]:
    """The keys that records of the same time and services have; none when there are too many to tell."""
    from treering.v1.log_pb2 import LogFilter  # noqa: PLC0415 - start-up

    looked_at = LogFilter(
        start_time_unix_nano=selected.start_time_unix_nano,
        end_time_unix_nano=selected.end_time_unix_nano,
        services=selected.services,
        environments=selected.environments,
    )
    found = client.list_fields(filter=looked_at, page_size=_MOST_KEYS)
    is_whole = not found.next_page_token
    return frozenset(each.field.attribute for each in found.fields if each.field.attribute) if is_whole else frozenset()
