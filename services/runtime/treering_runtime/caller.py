"""Who calls: what shares are counted by.

A caller is a remote address. On loopback and on Unix sockets everybody has the same one, so there a caller is a connection. On the inner
plane callers are ourselves; a service that asks there for somebody else hands on for whom, and shares are counted by that one.
"""

import functools
from collections.abc import Iterable
from contextvars import Context, ContextVar, copy_context
from urllib.parse import quote, unquote

OURSELVES = ""
"""The caller of work that nobody outside asked for: no share of it is counted."""

# A context variable: each call is a task of its own, and tasks that it starts inherit the caller.
_CALLER: ContextVar[str] = ContextVar("caller", default=OURSELVES)


def current() -> str:
    """The caller of the call that this task serves."""
    return _CALLER.get()


def serve(peer: str) -> None:
    """The task serves a call of this peer from now on; `peer` as gRPC says it, e.g. `ipv4:127.0.0.1:41000`."""
    _CALLER.set(of_peer(peer))


HANDED_ON = "treering-caller"
"""The key of the metadata that names the caller for whom a service asks. Believed on the inner plane only."""


def handed_on() -> tuple[tuple[str, str], ...]:
    """The metadata of a call on the inner plane that is made for the current caller."""
    return ((HANDED_ON, quote(current(), safe=":/[]")),) if current() != OURSELVES else ()


def serve_handed_on(metadata: Iterable[tuple[str, str | bytes]] | None) -> None:
    """The task serves, from now on, a call of the inner plane with this metadata."""
    for key, value in metadata or ():
        if key == HANDED_ON and isinstance(value, str):
            _CALLER.set(unquote(value))


def as_ourselves() -> Context:
    """A context for a task that works for everybody, whoever's call begins it: nobody's share is counted in it."""
    context = copy_context()
    context.run(_CALLER.set, OURSELVES)
    return context


@functools.lru_cache(1_024)  # every call asks, and most calls of a connection follow one another
def of_peer(peer: str) -> str:
    """The caller behind a peer."""
    if is_of_this_host(peer):
        return peer
    kind, _, address = unquote(peer).partition(":")
    return f"{kind}:{address.rpartition(':')[0]}"


def is_of_this_host(peer: str) -> bool:
    """Whether a peer, or the caller behind one, is on this host: then each of its connections is a caller."""
    # gRPC escapes a peer as in a URI: `ipv6:%5B::1%5D:41000`.
    kind, _, address = unquote(peer).partition(":")
    # An IPv4 client of a socket for both families comes as a mapped IPv6 address.
    return kind not in {"ipv4", "ipv6"} or address.startswith(("127.", "[::1]", "[::ffff:127.0.0.1]"))
