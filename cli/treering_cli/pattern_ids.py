"""The id of a pattern, as the contract has it: see `StoredRecord.pattern_id`."""

import hashlib

NO_PATTERN = 0
"""The id of records that belong to no pattern."""


def pattern_id(service: str, text: str) -> int:
    """The id that services use between them, whatever older one a store keeps for it."""
    name = service.encode()
    whole = len(name).to_bytes(8, "little") + name + text.encode()
    return int.from_bytes(hashlib.blake2b(whole, digest_size=16).digest()[:8], "little")
