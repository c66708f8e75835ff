"""What a mutant is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """One edit.

    Args:
        name: What is taken away.
        file: Where.
        anchor: The text that is replaced; stands exactly once in the file.
        replacement: What stands there then.
        tests: What must notice.
    """

    name: str
    file: str
    anchor: str
    replacement: str
    tests: tuple[str, ...]
