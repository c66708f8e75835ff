"""Text to vectors.

The packaged model, all-MiniLM-L6-v2, is built from the tensors of its weights' file (`tensors`) with OpenVINO's operators (`graph`) and
compiled in memory at each start (`compiled`): 0.3 s of a core, and no torch. Every other model is run by SentenceTransformer (`reference`),
which takes seconds and hundreds of megabytes to import and is an extra of the package. It is also what tests compare the built graph with.
`prepare` chooses between the two.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
"""Rows of vectors."""

Ids = NDArray[np.int64]
"""Wordpieces, as numbers of the model's vocabulary."""


@dataclass(frozen=True)
class Encoded:
    """What the model says about n texts, in their order."""

    dense: Matrix
    """(n, dimension), rows of unit length: the meaning of a whole text."""

    tokens: list[Matrix]
    """For each text (wordpieces, token dimension), rows of unit length: the meaning of each wordpiece where it stands. No special ones."""

    pieces: list[Ids]
    """For each text its wordpieces, one for each row of `tokens`."""


class Encoder(Protocol):
    """A model. Belongs to one thread at a time."""

    name: str
    """What computes: `sentence-transformers` or `openvino`."""

    dimension: int
    """Numbers in a dense vector."""

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Encodes texts in one run; the caller bounds their number and length (see `runs`)."""

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Wordpieces of each text as `encode` reads it, special ones included; costs about a hundredth of `encode`."""


def unit(rows: Matrix) -> Matrix:
    """Rows scaled to unit length; a row of zeros stays one."""
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    # The least positive number instead of 0: a row of zeros is divided by it and stays zeros, without NaN.
    scaled: Matrix = (rows / np.maximum(lengths, np.finfo(np.float32).tiny)).astype(np.float32, copy=False)
    return scaled
