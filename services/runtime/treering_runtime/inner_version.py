"""Whether a caller on the inner plane speaks the version that this release serves."""

from collections.abc import Iterable

from google.protobuf import descriptor_pool

from treering.inner.version import PROTOCOL_VERSION, mismatch, version_said
from treering.v1.error_pb2 import ErrorReason
from treering_runtime.errors import ServiceError

_CONTRACTS = frozenset({"treering/v1/admin.proto", "treering/v1/sink.proto"})
"""May change with each release; everything else that is served on the inner plane is what users call, and frozen."""


def changes_with_releases(method: str) -> bool:
    """Whether a method, `package.Service/Method`, is of a contract that may change with each release."""
    try:
        return descriptor_pool.Default().FindServiceByName(method.partition("/")[0]).file.name in _CONTRACTS
    # No contract of ours: health, reflection.
    except KeyError:
        return False


def check_version(theirs: int) -> None:
    """Raises VERSION_MISMATCH for another version than ours; 0 is none."""
    if theirs != PROTOCOL_VERSION:
        metadata = {"version": str(theirs), "expected_version": str(PROTOCOL_VERSION)}
        raise ServiceError(ErrorReason.ERROR_REASON_VERSION_MISMATCH, mismatch(theirs, "the caller"), metadata=metadata)


def check_caller(metadata: Iterable[tuple[str, str | bytes]] | None) -> None:
    """The same for a call with this metadata."""
    check_version(version_said(metadata))
