"""Which version of the inner plane this release speaks.

Its contracts (`sink.proto`, `admin.proto`) may change with each release, as its two ends are parts of one installation. So each end says
its version, and another one is refused: a delivery in its first message, every other call by its user agent, which a channel is made with.
"""

import re
from collections.abc import Iterable

PROTOCOL_VERSION = 1
"""Counted up with every change that the release before would misunderstand."""

AGENT = f"treering-inner/{PROTOCOL_VERSION}"
"""What a channel of this release adds to the user agent of its calls."""

_AGENT = re.compile(r"(?:^| )treering-inner/(\d{1,9})(?: |$)")


def version_said(metadata: Iterable[tuple[str, str | bytes]] | None) -> int:
    """The version that the metadata of a call says; 0 where it says none."""
    agents = (value for key, value in metadata or () if key == "user-agent" and isinstance(value, str))
    found = _AGENT.search(next(agents, ""))
    return int(found[1]) if found else 0


def mismatch(theirs: int, who: str) -> str:
    """What is wrong where the other side speaks another version, and what to do."""
    said = f"version {theirs}" if theirs else "no version"
    return (
        f"{who} speaks {said} of the inner plane, this side version {PROTOCOL_VERSION}; run one release of all Treering services and of "
        "the command line"
    )
