"""Tensors of a file in the safetensors format, mapped into memory.

The file is the length of a header (uint64, little endian), the header (JSON: for each name a type, a shape, and where its bytes are after
the header), the bytes. https://huggingface.co/docs/safetensors describes it.
"""

import json
import mmap
from pathlib import Path

import numpy as np

from treering_embed.encoder import Matrix

_LENGTH_BYTES = 8


class TensorFile:
    """The float32 tensors of a file, by name. Their pages are read when they are used."""

    def __init__(self, file: Path) -> None:
        with file.open("rb") as stream:
            self._bytes = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)  # OpenVINO takes arrays that can be written to
        start = _LENGTH_BYTES + int.from_bytes(self._bytes[:_LENGTH_BYTES], "little")
        header = json.loads(self._bytes[_LENGTH_BYTES:start])
        self.tensors: dict[str, Matrix] = {
            name: self._tensor(start + entry["data_offsets"][0], entry["shape"])
            for name, entry in header.items()
            if entry.get("dtype") == "F32"
        }

    def _tensor(self, offset: int, shape: list[int]) -> Matrix:
        return np.frombuffer(self._bytes, np.float32, int(np.prod(shape)), offset).reshape(shape)

    def release_pages(self) -> None:
        """Gives the memory of the mapped pages back; those that are used again come back from the file."""
        if hasattr(self._bytes, "madvise"):
            self._bytes.madvise(mmap.MADV_DONTNEED)
