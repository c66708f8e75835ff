"""What the registry remembers of an index: enough to open it, and to load the model that made it."""

import dataclasses
import json
from dataclasses import dataclass


@dataclass(frozen=True)
class IndexNote:
    """An index.

    Args:
        model: Of its vectors, as a setting or `treering reindex` named it.
        configured: The setting `model` when that was decided. As long as the setting says the same, the decision holds.
        number: Counts the indexes of this registry, so that two of one identity can stand side by side.
        identity: Hash of everything that vectors depend on; empty until the model is prepared.
        model_identity: Of the prepared model; empty until then.
        model_sha256: Of the model's weights; empty until then.
        request_id: As whoever asked for it called the reindex that makes it; empty = it was not called anything.
    """

    model: str
    configured: str
    number: int
    identity: str = ""
    model_identity: str = ""
    model_sha256: str = ""
    request_id: str = ""

    @property
    def name(self) -> str:
        """Of the index's directory, and in the name of the server's collection."""
        # The number is part of it: two indexes of one model must not share a directory while one replaces the other.
        return f"{self.identity}-{self.number}"

    def to_bytes(self) -> bytes:
        """JSON."""
        return json.dumps(dataclasses.asdict(self)).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> "IndexNote | None":
        """Reads what `to_bytes` wrote; None of nothing."""
        # By the names of fields: a new field with a default still reads notes of an earlier version.
        return cls(**json.loads(content)) if content else None
