"""What the clients know, on disk before they act on it."""

import json
import os
import threading
from pathlib import Path
from typing import NamedTuple


class BatchKey(NamedTuple):
    """Names one batch of one client in one cycle."""

    cycle: int
    client: int
    batch: int


class Journal:
    """Lines of `sent` (written before the batch goes out) and `acknowledged` (after its acknowledgement came), each synced."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._file = path.open("ab")

    def sent(self, *keys: BatchKey) -> None:
        """These batches may be stored from now on."""
        self._write("sent", keys)

    def acknowledged(self, *keys: BatchKey) -> None:
        """These batches must be stored from now on."""
        self._write("acknowledged", keys)

    def _write(self, what: str, keys: tuple[BatchKey, ...]) -> None:
        lines = "".join(json.dumps([what, *key]) + "\n" for key in keys)
        with self._lock:
            self._file.write(lines.encode())
            self._file.flush()
            os.fsync(self._file.fileno())

    def read(self, cycle: int) -> tuple[set[BatchKey], set[BatchKey]]:
        """The batches of a cycle that were sent, and those that were acknowledged, as the disk has them."""
        found: dict[str, set[BatchKey]] = {"sent": set(), "acknowledged": set()}
        with self.path.open("rb") as lines:
            for line in lines:
                what, *key = json.loads(line)
                if key[0] == cycle:
                    found[what].add(BatchKey(*key))
        return found["sent"], found["acknowledged"]

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
