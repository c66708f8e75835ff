"""From a configured model to one that can serve: located, checked, loaded, with the basis of its token vectors.

The packaged model is built from its weights in less than a second (`compiled`). Every other one is run by SentenceTransformer
(`reference`), which the extra `models` installs.

Vectors in an index are comparable with those of another process as long as the model's files, the way it is computed and the basis are the
same. The first two make the *identity*. The basis is derived from what the model makes of sample texts, and depends on the processor in its
last digits; so it is kept beside the index. That of the packaged model is packaged too: to derive it takes longer than all the rest.
"""

import importlib.util
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import structlog

from treering_embed.encoder import Encoder, Matrix
from treering_embed.encoder.late import PieceFrequencies, derive_basis
from treering_embed.encoder.sample import TEXTS
from treering_embed.encoder.weights import DEFAULT_MODEL, Weights, locate, packaged_directory
from treering_embed.limits import MAX_ENCODE_TEXTS
from treering_runtime.data_dir import make_directory, write_atomically
from treering_runtime.errors import StartError
from treering_runtime.own_thread import on_own_thread

_LOG = structlog.get_logger()

_BASIS_FILE = "basis.npy"
_FREQUENCIES_FILE = "frequencies.bin"

PACKAGED = Path(__file__).with_name("all-MiniLM-L6-v2.npz")
"""Basis (float16) and frequencies (bytes) of the packaged model; `tools/basis.py` writes it."""

KEPT_FILES = frozenset({_BASIS_FILE, _FREQUENCIES_FILE})
"""What is kept of a model below the data directory."""

_RECIPE = 3
"""Number of the way vectors are computed, part of the identity: to change it embeds everything anew. The packaged model used to be exported
from the SentenceTransformer on each machine; its vectors and those of `compiled` have a cosine over 0.9998, so the number stayed."""

_EXTRA = ("sentence_transformers", "torch")


@dataclass(frozen=True)
class PreparedModel:
    """A model that can serve: the weights it is made from, how it computes, and the basis of its token vectors."""

    weights: Weights
    encoder: Encoder
    basis: Matrix
    frequencies: bytes
    """Of wordpieces in the sample texts: what `PieceFrequencies.from_bytes` reads."""
    identity: str


def check_installed(model: str, *, reference: bool) -> None:
    """Sees that what a model needs is installed.

    Args:
        model: As in the settings.
        reference: Whether the SentenceTransformer is to be used for the packaged model too.

    Raises:
        StartError: It is not; with the command that installs it.
    """
    # The weights must be there even where `reference` runs them.
    if model == DEFAULT_MODEL:
        packaged_directory()
    # Looked up, not imported: the import takes seconds.
    if (model == DEFAULT_MODEL and not reference) or all(map(importlib.util.find_spec, _EXTRA)):
        return
    asked = "encoder=reference" if reference else f"model={model}"
    raise StartError(f"{asked}: this needs SentenceTransformer, which is not installed; run pip install 'treering[models]'")


async def prepare(model: str, cache: Path, threads: int, *, reference: bool = False) -> PreparedModel:
    """Loads a model, deriving its basis if that was not done yet.

    Args:
        model: As in the settings.
        cache: Directory of what is kept of models; one directory for each identity.
        threads: Threads of the model.
        reference: Whether the SentenceTransformer is to be used for the packaged model too.

    Raises:
        StartError: There is no such model, or it cannot be loaded.
    """
    check_installed(model, reference=reference)
    weights = await on_own_thread("model", lambda: locate(model))
    identity = prepared_identity(weights)
    try:
        encoder, basis, frequencies = await on_own_thread("model", lambda: _loaded(weights, threads, cache / identity, reference=reference))
    except Exception as error:
        raise StartError(f"model={model}: it cannot be loaded ({type(error).__name__}: {error})") from error
    _LOG.info("model loaded", model=model, encoder=encoder.name, dimension=encoder.dimension, identity=identity)
    return PreparedModel(weights, encoder, basis, frequencies, identity)


def prepared_identity(weights: Weights) -> str:
    """Names a model together with the way it computes."""
    return f"{weights.identity}-{_RECIPE}"


def _loaded(weights: Weights, threads: int, directory: Path, *, reference: bool) -> tuple[Encoder, Matrix, bytes]:
    encoder = _load(weights, threads, reference=reference)
    return encoder, *_basis(weights, encoder, directory)


def _load(weights: Weights, threads: int, *, reference: bool) -> Encoder:
    """Each way of computing is imported only where it is used: torch takes seconds and hundreds of megabytes."""
    if weights.name == DEFAULT_MODEL and not reference:
        from treering_embed.encoder.compiled import CompiledEncoder  # noqa: PLC0415

        return CompiledEncoder(weights.path, threads)
    from treering_embed.encoder.reference import ReferenceEncoder  # noqa: PLC0415

    return ReferenceEncoder(weights.path, threads)


def _basis(weights: Weights, encoder: Encoder, directory: Path) -> tuple[Matrix, bytes]:
    """Basis and frequencies: those that the index was made with, if there is one; the basis is written last, so where it is, all is."""
    # What is there wins: derived again on another processor it differs in the last digits, and old token vectors would not fit.
    if (directory / _BASIS_FILE).exists():
        return np.load(directory / _BASIS_FILE), (directory / _FREQUENCIES_FILE).read_bytes()
    basis, frequencies = _packaged() if weights.name == DEFAULT_MODEL else sampled(encoder)
    _keep(directory, basis, frequencies)
    return basis, frequencies


def _packaged() -> tuple[Matrix, bytes]:
    with np.load(PACKAGED) as arrays:
        return arrays["basis"].astype(np.float32), arrays["frequencies"].tobytes()


def sampled(encoder: Encoder) -> tuple[Matrix, bytes]:
    """Basis and frequencies of the sample texts."""
    runs = [encoder.encode(TEXTS[start : start + MAX_ENCODE_TEXTS]) for start in range(0, len(TEXTS), MAX_ENCODE_TEXTS)]
    basis = derive_basis(np.concatenate([rows for run in runs for rows in run.tokens]))
    return basis, PieceFrequencies.over(pieces for run in runs for pieces in run.pieces).to_bytes()


def _keep(directory: Path, basis: Matrix, frequencies: bytes) -> None:
    make_directory(directory)
    content = io.BytesIO()
    np.save(content, basis)
    # Frequencies before the basis: `_basis` takes the basis for the sign that both are there.
    write_atomically(directory / _FREQUENCIES_FILE, frequencies)
    write_atomically(directory / _BASIS_FILE, content.getvalue())
