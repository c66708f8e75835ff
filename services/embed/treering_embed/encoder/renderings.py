"""What the model reads of a pattern: two texts, whose mean vector finds more than either.

- *general*: the last part of the service's name in words, and the message with its variable parts masked;
- *concrete*: the whole name, and the message as it was first seen, identifiers split into words.

`nova/compute.manager` with `deleteInstance <*> failed` becomes `compute manager: deleteInstance <*> failed` and
`nova/compute.manager: delete Instance 4711 failed`. The service's words matter more than anything else in a rendering.
"""

import re

RENDERING_VERSION = 1
"""Number of the rules below; part of the index's identity. It changes whenever one of them does."""

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_JOINTS = re.compile(r"(?<=[^\W_])[_.$]+(?=[^\W_])")
_NAME_JOINTS = re.compile(r"[\W_]+")


def words_of(identifier: str) -> str:
    """A name in words: `nova/compute.apiServer` -> `nova compute api Server`."""
    return _NAME_JOINTS.sub(" ", _CAMEL.sub(" ", identifier)).strip()


def split_identifiers(text: str) -> str:
    """Splits camelCase, snake_case and dotted.names inside a text; all else stays."""
    return _CAMEL.sub(" ", _JOINTS.sub(" ", text))


def render(service: str, masked: str, example: str) -> tuple[str, str]:
    """The general and the concrete text of a pattern."""
    general = _prefixed(words_of(service.rpartition("/")[2]), masked)
    return general, _prefixed(service, split_identifiers(example))


def _prefixed(name: str, message: str) -> str:
    return f"{name}: {message}" if name else message
