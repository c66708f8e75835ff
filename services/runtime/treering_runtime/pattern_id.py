"""The id of one pattern, by Python's own library alone: for programs that know a few patterns and load no columns."""

import hashlib

NO_PATTERN = 0
"""The id of records whose kind has no id of its own. Also of a kind whose hash is 0: that one is treated as if another had its id."""

ID_BITS = (1 << 64) - 1
"""The part of a fingerprint that is the id."""


def fingerprint(service: str, text: str) -> int:
    """The 128 bits that tell a kind from any other; the lower 64 are its id."""
    name = service.encode()
    # The length first: without it, a service `a` with the text `bc` and a service `ab` with `c` would be one kind.
    whole = len(name).to_bytes(8, "little") + name + text.encode()
    return int.from_bytes(hashlib.blake2b(whole, digest_size=16).digest(), "little")


def pattern_id(service: str, text: str) -> int:
    """The id of a kind, unless another one holds it."""
    return fingerprint(service, text) & ID_BITS
