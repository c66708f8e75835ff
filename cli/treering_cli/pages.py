"""Lists that come in pages, as one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from treering_cli.costs import total

_PAGE = 1_000
"""Entries of one page at most: few calls, and the first answer comes soon."""


@dataclass(frozen=True)
class Listed:
    """The first entries of a list, where it goes on (empty at the end), the last page, and what all of them cost."""

    entries: list[Any]
    next_page_token: str
    last: Any
    cost: Any


def listed(ask: Callable[[int, str], Any], part: str, limit: int, page_token: str = "") -> Listed:
    """Asks for page after page until there are `limit` entries, or no more.

    Args:
        ask: Gives the page for a page size and a page token.
        part: The field of a page that holds its entries.
        limit: How many entries.
        page_token: Where to begin.
    """
    entries: list[Any] = []
    costs = []
    while True:
        page = ask(min(limit - len(entries), _PAGE), page_token)
        entries += getattr(page, part)
        costs.append(page.cost)
        page_token = page.next_page_token
        if not page_token or len(entries) >= limit:
            return Listed(entries, page_token, page, total(costs))
