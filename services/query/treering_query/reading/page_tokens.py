"""Page tokens: the place where a page ends, as a fixed layout of numbers in URL-safe base64. Whoever reads one checks every field."""

import base64
import binascii
import struct
from typing import TYPE_CHECKING

from treering_runtime.errors import ServiceError, invalid_field

if TYPE_CHECKING:
    from google.protobuf.message import Message


def question(request: "Message", *free: str) -> bytes:
    """What a request and those of its other pages agree in: everything but their tokens and the fields that are free."""
    same = type(request)()
    # All fields but these: one that is added later counts by itself.
    same.CopyFrom(request)
    for name in ("page_token", *free):
        same.ClearField(name)
    return same.SerializeToString(deterministic=True)


def packed(layout: struct.Struct, *values: float) -> str:
    """A token."""
    return base64.urlsafe_b64encode(layout.pack(*values)).decode()


def unpacked(layout: struct.Struct, token: str) -> tuple[float, ...]:
    """The values of a token, of the types and within the ranges that the layout gives them.

    Raises:
        ServiceError: INVALID_FIELD, when it has another length or is not base64.
    """
    try:
        # Strict in characters and in length: anything else is refused here, and not half understood.
        return layout.unpack(base64.b64decode(token, b"-_", validate=True))
    except (binascii.Error, struct.error, ValueError):
        raise refused() from None


def refused() -> ServiceError:
    """For a token that no server gave."""
    return invalid_field("page_token", "not a token of this server; begin again without one")
