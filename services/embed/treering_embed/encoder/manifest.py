"""What is known about a prepared model; the last file written into its directory, so its presence means that all is there."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from treering_runtime.data_dir import write_atomically

MANIFEST_FILE = "manifest.json"
BASIS_FILE = "basis.npy"
FREQUENCIES_FILE = "frequencies.bin"

PREPARATION_VERSION = 3
"""Number of the way models are prepared: export, sample texts, basis. Part of the directory's name."""

MIN_MEAN_COSINE = 0.99
MIN_COSINE = 0.97


@dataclass(frozen=True)
class Agreement:
    """Cosines between reference and fast path over the sample texts."""

    mean: float
    minimum: float

    @property
    def good(self) -> bool:
        """Whether the fast path may be used."""
        return self.mean >= MIN_MEAN_COSINE and self.minimum >= MIN_COSINE


@dataclass(frozen=True)
class Manifest:
    """A prepared model: numbers in a dense vector, whether the fast path may be used, and why not."""

    dimension: int
    fast: bool
    problem: str
    mean_cosine: float
    min_cosine: float

    @classmethod
    def of(cls, dimension: int, agreement: Agreement | None, problem: str) -> "Manifest":
        """The verdict over a comparison, or over the failure to make one."""
        measured = agreement or Agreement(0.0, 0.0)
        if agreement is not None and not agreement.good:
            problem = f"cosine to the reference: mean {measured.mean:.4f}, least {measured.minimum:.4f}"
        return cls(dimension, measured.good, problem, measured.mean, measured.minimum)

    def write(self, directory: Path) -> None:
        """Writes the manifest."""
        write_atomically(directory / MANIFEST_FILE, json.dumps(dataclasses.asdict(self), indent=1).encode())

    @classmethod
    def read(cls, directory: Path) -> "Manifest | None":
        """The manifest of a directory; None where it was not finished."""
        try:
            return cls(**json.loads((directory / MANIFEST_FILE).read_text()))
        except FileNotFoundError:
            return None
