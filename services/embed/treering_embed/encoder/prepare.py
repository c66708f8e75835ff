"""From a configured model to one that can serve: located, checked, exported once, loaded."""

import asyncio
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import structlog

from treering_embed.encoder import Encoder, Matrix
from treering_embed.encoder.fast import FastEncoder
from treering_embed.encoder.manifest import BASIS_FILE, FREQUENCIES_FILE, PREPARATION_VERSION, Manifest
from treering_embed.encoder.weights import Weights, locate
from treering_embed.limits import EXPORT_TIMEOUT_S
from treering_runtime.data_dir import sync_directory
from treering_runtime.errors import StartError

_LOG = structlog.get_logger()

_UNFINISHED = ".tmp"


@dataclass(frozen=True)
class PreparedModel:
    """A model that can serve: the weights it is made from, how it computes, and the basis of its token vectors."""

    weights: Weights
    encoder: Encoder
    basis: Matrix
    frequencies: bytes
    """Of wordpieces in the sample texts: what `PieceFrequencies.from_bytes` reads."""
    identity: str


async def prepare(model: str, cache: Path, threads: int, *, fast: bool) -> PreparedModel:
    """Loads a model, making its fast path first if that was not done yet.

    Args:
        model: As in the settings.
        cache: Directory of prepared models; one directory for each identity.
        threads: Threads of the model.
        fast: Whether the fast path may be used.

    Raises:
        StartError: There is no such model, or it cannot be loaded.
    """
    weights = await asyncio.to_thread(locate, model)
    identity = prepared_identity(weights)
    directory = cache / identity
    manifest = Manifest.read(directory)
    if manifest is None:
        await _make(weights.path, directory, threads)
        manifest = Manifest.read(directory)
    if manifest is None:
        raise StartError(f"model={model}: {directory} has no manifest; remove it and start again")
    if manifest.problem:
        _LOG.warning("the reference encoder serves: the fast path cannot be used", problem=manifest.problem)
    encoder = await asyncio.to_thread(_load, weights.path, directory, threads, fast=fast and manifest.fast)
    return _assembled(weights, encoder, directory)


def prepared_identity(weights: Weights) -> str:
    """Names a model together with the way it is prepared."""
    return f"{weights.identity}-{PREPARATION_VERSION}"


def reload(model: str, sha256: str, directory: Path, threads: int) -> PreparedModel | None:
    """A model from its prepared directory alone; None where that is not there or the model needs its own files."""
    manifest = Manifest.read(directory)
    if manifest is None or not manifest.fast:
        return None
    weights = Weights(model, directory, sha256, directory.name)
    return _assembled(weights, FastEncoder(directory, threads), directory)


def _assembled(weights: Weights, encoder: Encoder, directory: Path) -> PreparedModel:
    basis: Matrix = np.load(directory / BASIS_FILE)
    _LOG.info("model loaded", model=weights.name, encoder=encoder.name, dimension=encoder.dimension, identity=directory.name)
    return PreparedModel(weights, encoder, basis, (directory / FREQUENCIES_FILE).read_bytes(), directory.name)


def _load(path: Path, directory: Path, threads: int, *, fast: bool) -> Encoder:
    if fast:
        return FastEncoder(directory, threads)
    from treering_embed.encoder.reference import ReferenceEncoder  # noqa: PLC0415 - imports torch, which the fast path does without

    return ReferenceEncoder(path, threads)


async def _make(model: Path, directory: Path, threads: int) -> None:
    """Prepares into a directory beside, and renames it when all is there."""
    unfinished = await asyncio.to_thread(_begin, directory)
    await _run_child(model, unfinished, threads)
    await asyncio.to_thread(_finish, unfinished, directory)


def _begin(directory: Path) -> Path:
    """Removes what earlier attempts left. Each has a directory of its own: the child of a killed one may still be writing."""
    directory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for left in directory.parent.glob(f"*{_UNFINISHED}"):
        shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(_UNFINISHED, f"{directory.name}.", directory.parent))


def _finish(unfinished: Path, directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    unfinished.rename(directory)
    sync_directory(directory.parent)


async def _run_child(model: Path, out: Path, threads: int) -> None:
    arguments = ("-m", "treering_embed.encoder.export", str(model), str(out), str(threads))
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=pipe, stderr=pipe, env=environment)
    _LOG.info("preparing the model", pid=child.pid)
    try:
        async with asyncio.timeout(EXPORT_TIMEOUT_S):
            _, errors = await child.communicate()
    except TimeoutError:
        raise StartError(f"the model was not prepared in {EXPORT_TIMEOUT_S:.0f} s; give the machine more room and start again") from None
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode != 0:
        lines = errors.decode(errors="replace").strip().splitlines()
        raise StartError(f"the model cannot be loaded: {lines[-1] if lines else f'exit code {child.returncode}'}")
