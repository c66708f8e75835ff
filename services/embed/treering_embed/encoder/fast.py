"""The fast path: the reference's transformer as an OpenVINO model. Never imports torch.

Where the processor multiplies bfloat16 (AVX-512 BF16, AMX), the model computes in it: twice as fast, with no measurable loss. Elsewhere it
computes in float32. OpenVINO prepares itself for each shape of its input and keeps what it prepared, so texts are padded to few shapes,
and what it keeps is bounded.
"""

import mmap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openvino
from tokenizers import Encoding, Tokenizer

from treering_embed.encoder import Encoded, Ids, unit
from treering_embed.encoder.runs import rows_of, width_of
from treering_embed.limits import MAX_WORDPIECES

MODEL_FILE = "model.xml"
"""The graph; its weights are in `_WEIGHTS_FILE` beside it, as float16, mapped into memory."""

_WEIGHTS_FILE = "model.bin"

TOKENIZER_FILE = "tokenizer.json"

_KEPT_PREPARATIONS = 64
"""Of each kind, for shapes used last: unbounded, 150 shapes kept 65 MB more; preparing for one again adds a tenth to one run."""


class FastEncoder:
    """Runs `model.xml` with `tokenizer.json` beside it; a dense vector is the mean over the token vectors that the model gives.

    Args:
        directory: Holds the files.
        threads: Threads of OpenVINO.
    """

    name = "openvino"

    def __init__(self, directory: Path, threads: int) -> None:
        core = openvino.Core()
        precision = "bf16" if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"
        options = {
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": precision,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,  # cores are shared with the other services
            "CPU_RUNTIME_CACHE_CAPACITY": _KEPT_PREPARATIONS,
        }
        with (directory / _WEIGHTS_FILE).open("rb") as file:
            self._weights = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        weights = openvino.Tensor(np.frombuffer(self._weights, np.uint8), shared_memory=True)
        model = core.compile_model(core.read_model((directory / MODEL_FILE).read_text(), weights), "CPU", options)
        self._inputs = [node.any_name for node in model.inputs]
        self._request = model.create_infer_request()
        self._tokenizer = Tokenizer.from_file(str(directory / TOKENIZER_FILE))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_WORDPIECES)
        self.dimension = int(model.output(0).partial_shape[2].get_length())
        self._let_weights_go()

    def _let_weights_go(self) -> None:
        """The first run copies most weights into a form of its own; the pages of the others come back from the file when they are read."""
        self.encode(["ready"])
        if hasattr(self._weights, "madvise"):
            self._weights.madvise(mmap.MADV_DONTNEED)

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Counts wordpieces."""
        return [len(encoding) for encoding in self._tokenizer.encode_batch_fast(list(texts))]

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Encodes texts in one run."""
        encodings = self._tokenizer.encode_batch_fast(list(texts))
        ids, mask, wanted = _padded(encodings)
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        self._request.infer({name: feed[name] for name in self._inputs}, share_inputs=True)
        embeddings = self._request.get_output_tensor(0).data[: len(encodings)]
        weights = mask[: len(encodings), :, None].astype(np.float32)
        return Encoded(
            dense=unit((embeddings * weights).sum(axis=1) / weights.sum(axis=1)),
            tokens=[unit(rows[kept]) for rows, kept in zip(embeddings, wanted, strict=False)],
            pieces=[row[kept] for row, kept in zip(ids[: len(encodings)], wanted, strict=False)],
        )


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
