"""Makes the fast path of a model; runs as a child process, so that torch never enters the serving one.

    python -m treering_embed.encoder.export MODEL_DIRECTORY OUTPUT_DIRECTORY THREADS

Writes `model.xml`, `model.bin`, `tokenizer.json`, `basis.npy`, `frequencies.bin` and, last, `manifest.json`. Exits 0 also when the fast
path turns out to be unusable: the manifest says why.
"""

import json
import os
import shutil
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import torch
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

from treering_embed.encoder import Encoded, Encoder, Matrix
from treering_embed.encoder.fast import MODEL_FILE, TOKENIZER_FILE, FastEncoder
from treering_embed.encoder.manifest import BASIS_FILE, FREQUENCIES_FILE, Agreement, Manifest
from treering_embed.encoder.reference import ReferenceEncoder
from treering_embed.encoder.sample import TEXTS
from treering_embed.late import PieceFrequencies, derive_basis
from treering_embed.limits import MAX_ENCODE_TEXTS


class _TokenEmbeddings(torch.nn.Module):
    """The transformer with one output and positional inputs, as the exporter wants it."""

    def __init__(self, transformer: Any, names: tuple[str, ...]) -> None:
        super().__init__()
        self._transformer = transformer
        self._names = names

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self._transformer(**dict(zip(self._names, inputs, strict=True))).last_hidden_state
        return output


def export(reference: ReferenceEncoder, directory: Path, model_directory: Path) -> None:
    """Writes the transformer of `reference` for OpenVINO, weights as float16, with its tokenizer."""
    features = reference.model.preprocess(list(TEXTS[:2]))
    names = tuple(name for name in ("input_ids", "attention_mask", "token_type_ids") if name in features)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # tracing warns of shapes that it fixes; the comparison below is what decides
        module = _TokenEmbeddings(reference.model[0].auto_model, names).eval()
        traced = torch.jit.trace(module, tuple(features[name] for name in names), strict=False)  # type: ignore[no-untyped-call]
        decoder = TorchScriptPythonDecoder(traced)  # kept in a variable: the frontend does not keep it alive
    frontend = FrontEndManager().load_by_framework("pytorch")
    source = frontend.load(decoder)
    converted = frontend.convert(source)
    for node, name in zip(converted.inputs, names, strict=True):
        node.tensor.set_names({name})
    openvino.save_model(converted, directory / MODEL_FILE, compress_to_fp16=True)
    shutil.copyfile(model_directory / TOKENIZER_FILE, directory / TOKENIZER_FILE)


def encode_all(encoder: Encoder) -> Encoded:
    """The sample texts through one encoder."""
    parts = [encoder.encode(TEXTS[start : start + MAX_ENCODE_TEXTS]) for start in range(0, len(TEXTS), MAX_ENCODE_TEXTS)]
    return Encoded(
        dense=np.concatenate([part.dense for part in parts]),
        tokens=[rows for part in parts for rows in part.tokens],
        pieces=[row for part in parts for row in part.pieces],
    )


def compare(wanted: Encoded, found: Encoded) -> Agreement:
    """How close two encoders are: cosines of the dense vectors, and of the token vectors where both cut the text alike."""
    if found.dense.shape != wanted.dense.shape or [len(row) for row in found.pieces] != [len(row) for row in wanted.pieces]:
        return Agreement(0.0, 0.0)
    dense = _cosines(wanted.dense, found.dense)
    tokens = _cosines(np.concatenate(wanted.tokens), np.concatenate(found.tokens))
    return Agreement(float(min(dense.mean(), tokens.mean())), float(dense.min()))


def _cosines(left: Matrix, right: Matrix) -> Matrix:
    cosines: Matrix = (left * right).sum(axis=1)
    return cosines


def _fast_agreement(reference: ReferenceEncoder, wanted: Encoded, model: Path, out: Path, threads: int) -> tuple[Agreement | None, str]:
    """Exports and compares; says why it could not, because any model at all may be configured, and the reference can serve each."""
    try:
        export(reference, out, model)
        return compare(wanted, encode_all(FastEncoder(out, threads))), ""
    except Exception as error:  # noqa: BLE001 - the exporters raise nearly everything; it is reported, and the reference serves
        return None, f"{type(error).__name__}: {error}"


def main(model: Path, out: Path, threads: int) -> None:
    """Prepares `model` in the directory `out`."""
    reference = ReferenceEncoder(model, threads)
    wanted = encode_all(reference)
    agreement, problem = _fast_agreement(reference, wanted, model, out, threads)
    (out / FREQUENCIES_FILE).write_bytes(PieceFrequencies.over(wanted.pieces).to_bytes())
    np.save(out / BASIS_FILE, derive_basis(np.concatenate(wanted.tokens)))
    Manifest.of(reference.dimension, agreement, problem).write(out)
    sys.stdout.write(json.dumps({"prepared": str(out), "problem": problem}) + "\n")


def _end_with(parent: int) -> None:
    """Ends this process when whoever started it is gone: nobody would use what it makes, and attempts would pile up."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
