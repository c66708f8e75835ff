"""Who calls: by whom shares are counted, what that one may do, and what that one may see.

A caller is a remote address. On loopback and on Unix sockets everybody has the same one, so there a caller is a connection. On the inner
plane callers are ourselves; a service that asks there for somebody else hands on for whom, and shares are counted by that one.

Rights and scope are unlimited for everybody: the ports are open to whoever reaches them. Which code may look at them is a list in
`tests/contract/test_callers.py`, so that a limit has one place to be checked in.
"""

import functools
from collections.abc import Iterable
from contextvars import Context, ContextVar, copy_context
from typing import NamedTuple
from urllib.parse import quote, unquote

OURSELVES = ""
"""The caller of work that nobody outside asked for: no share of it is counted."""


class Rights(NamedTuple):
    """What a caller may do."""

    methods: frozenset[str] | None = None
    """Rpcs as gRPC names them, e.g. `treering.v1.QueryService/SearchLogs`; None = every one."""


class Scope(NamedTuple):
    """What a caller may see and write."""

    services: frozenset[str] | None = None
    """Records of these services; None = of all."""


class Caller(NamedTuple):
    """Whom a task serves."""

    name: str
    rights: Rights = Rights()
    scope: Scope = Scope()


_WE = Caller(OURSELVES)

# A context variable: each call is a task of its own, and tasks that it starts inherit the caller.
_CALLER: ContextVar[Caller] = ContextVar("caller", default=_WE)


def current() -> str:
    """The name of the caller of the call that this task serves."""
    return _CALLER.get().name


def rights() -> Rights:
    """What the caller of this call may do. For the boundary alone."""
    return _CALLER.get().rights


def scope() -> Scope:
    """What the caller of this call may see and write. For the boundary alone."""
    return _CALLER.get().scope


def serve(peer: str) -> None:
    """The task serves a call of this peer from now on; `peer` as gRPC says it, e.g. `ipv4:127.0.0.1:41000`."""
    _CALLER.set(_caller(of_peer(peer)))


HANDED_ON = "treering-caller"
"""The key of the metadata that names the caller for whom a service asks. Believed on the inner plane only."""


def handed_on() -> tuple[tuple[str, str], ...]:
    """The metadata of a call on the inner plane that is made for the current caller."""
    return ((HANDED_ON, quote(current(), safe=":/[]")),) if current() != OURSELVES else ()


def serve_handed_on(metadata: Iterable[tuple[str, str | bytes]] | None) -> None:
    """The task serves, from now on, a call of the inner plane with this metadata."""
    for key, value in metadata or ():
        if key == HANDED_ON and isinstance(value, str):
            _CALLER.set(_caller(unquote(value)))


def as_ourselves() -> Context:
    """A context for a task that works for everybody, whoever's call begins it: nobody's share is counted in it."""
    context = copy_context()
    context.run(_CALLER.set, _WE)
    return context


def _caller(name: str) -> Caller:
    """Nothing is limited yet, for nobody: what will limit a caller is decided here."""
    return Caller(name)


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
