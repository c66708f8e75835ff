"""Stubs of several services as one."""

from types import SimpleNamespace
from typing import Any


def together(channel: Any, *kinds: type) -> Any:
    """The rpcs of several services over one channel; their names differ."""
    return SimpleNamespace(**{name: rpc for kind in kinds for name, rpc in vars(kind(channel)).items()})
