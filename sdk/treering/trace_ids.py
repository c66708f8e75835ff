"""Trace ids as people write them."""


def trace_id_bytes(value: str | bytes) -> bytes:
    """The 16 bytes of a trace id, which may be written with dashes, as a UUID is; empty for an empty one.

    Raises:
        ValueError: It is none.
    """
    try:
        raw = bytes.fromhex(value.replace("-", "")) if isinstance(value, str) else value
    except ValueError:
        raise ValueError(f"trace id {value!r} is not hexadecimal; give 32 hex digits") from None
    # Empty is no filter; anything else must be a whole id, as a part of one would match nothing.
    if len(raw) not in {0, 16}:
        raise ValueError(f"trace id {value!r} has {len(raw)} bytes; give 16 (32 hex digits)")
    return raw
