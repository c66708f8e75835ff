"""all-MiniLM-L6-v2 by OpenVINO, built from its weights at each start. Never imports torch.

Where the processor multiplies bfloat16 (AVX-512 BF16, AMX), the model computes in it: twice as fast, with no measurable loss. Elsewhere it
computes in float32. OpenVINO prepares itself for each shape of its input and keeps what it prepared, so texts are padded to few shapes,
and what it keeps is bounded.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Encoding, Tokenizer

from treering_embed.encoder import Encoded, Ids
from treering_embed.encoder.graph import build_graph
from treering_embed.encoder.inference import Core
from treering_embed.encoder.runs import rows_of, width_of
from treering_embed.encoder.tensors import TensorFile
from treering_embed.limits import MAX_WORDPIECES

_KEPT_PREPARATIONS = 64
"""Of each kind, for shapes used last: unbounded, 150 shapes kept 65 MB more; preparing for one again adds a tenth to one run."""

_DENSE, _TOKENS = 0, 1
"""Outputs of the graph."""

_CHECKED = ("no space left on device", "the disk is full", "customers cannot pay")
_CHECKED_COSINES = [0.622, 0.115, 0.197]
"""Of the first with the second, the first with the third, the second with the third, by the SentenceTransformer."""

_TOLERANCE = 0.01
"""Of a cosine: bfloat16 changes it by 0.001."""


class CompiledEncoder:
    """Runs the graph of all-MiniLM-L6-v2.

    Args:
        directory: Holds `model.safetensors` and `tokenizer.json`.
        threads: Threads of OpenVINO.
        precision: `bf16` or `f32`; empty = what suits the processor.
    """

    name = "openvino"

    def __init__(self, directory: Path, threads: int, precision: str = "") -> None:
        core = Core()
        options = {
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": precision or _fastest(core),
            # One run at a time: more streams would only keep more buffers.
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,  # cores are shared with the other services
            "CPU_RUNTIME_CACHE_CAPACITY": _KEPT_PREPARATIONS,
        }
        self._weights = TensorFile(directory / "model.safetensors")
        model = core.compile_model(build_graph(self._weights.tensors, MAX_WORDPIECES), "CPU", options)
        self._request = model.create_infer_request()
        self._tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        # Padded here, to few shapes: the tokenizer would pad to the longest text of each run.
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_WORDPIECES)
        self.dimension = int(model.output(_DENSE).partial_shape[1].get_length())
        # Before the service says that it is ready: wrong vectors raise no error later, they only rank badly.
        self._check()
        self._weights.release_pages()  # the first run copied most weights into a form of its own

    def _check(self) -> None:
        """Sees that this processor, with this OpenVINO, computes what the tests found equal to the SentenceTransformer."""
        vectors = self.encode(_CHECKED).dense
        cosines = np.round([vectors[0] @ vectors[1], vectors[0] @ vectors[2], vectors[1] @ vectors[2]], 3)
        if not np.allclose(cosines, _CHECKED_COSINES, atol=_TOLERANCE):
            raise RuntimeError(f"OpenVINO gives cosines {cosines.tolist()} instead of {_CHECKED_COSINES}; set encoder=reference")

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Counts wordpieces."""
        return [len(encoding) for encoding in self._tokenizer.encode_batch_fast(list(texts))]

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Encodes texts in one run."""
        encodings = self._tokenizer.encode_batch_fast(list(texts))
        ids, mask, wanted = _padded(encodings)
        # Shared, not copied: `infer` returns when it is done, and nobody changes the arrays meanwhile.
        self._request.infer([ids, mask], share_inputs=True)
        dense, tokens = (self._request.get_output_tensor(output).data[: len(encodings)] for output in (_DENSE, _TOKENS))
        return Encoded(
            dense=dense.copy(),  # the next run writes into the same memory
            tokens=[rows[kept] for rows, kept in zip(tokens, wanted, strict=False)],
            pieces=[row[kept] for row, kept in zip(ids[: len(encodings)], wanted, strict=False)],
        )


def _fastest(core: Core) -> str:
    return "bf16" if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"


def _padded(encodings: Sequence[Encoding]) -> tuple[Ids, Ids, np.ndarray[tuple[int, int], np.dtype[np.bool_]]]:
    """Wordpieces, which of them are there, and which are no special ones; as many rows as in a full run, or the next power of two.

    Rows that only pad hold one wordpiece, so that nothing is divided by zero in them.
    """
    count, width = len(encodings), width_of(max(len(encoding) for encoding in encodings))
    shape = (max(count, min(1 << (count - 1).bit_length(), rows_of(width))), width)
    ids, mask, wanted = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.bool_)
    mask[len(encodings) :, 0] = 1
    for row, encoding in enumerate(encodings):
        ids[row, : len(encoding)] = encoding.ids
        mask[row, : len(encoding)] = 1
        wanted[row, : len(encoding)] = np.array(encoding.special_tokens_mask) == 0
    return ids, mask, wanted
