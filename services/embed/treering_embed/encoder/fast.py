"""The fast path: the reference's transformer exported to ONNX, run by onnxruntime. Never imports torch."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from treering_embed.encoder import Encoded, unit
from treering_embed.limits import MAX_WORDPIECES

MODEL_FILE = "model.onnx"
TOKENIZER_FILE = "tokenizer.json"


class FastEncoder:
    """Runs `model.onnx` with `tokenizer.json` beside it; a dense vector is the mean over the token vectors that the model gives.

    Args:
        directory: Holds the two files.
        threads: Threads of onnxruntime.
    """

    name = "onnxruntime"

    def __init__(self, directory: Path, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # two cores are shared with the other services
        self._session = onnxruntime.InferenceSession(str(directory / MODEL_FILE), options, providers=["CPUExecutionProvider"])
        self._inputs = {node.name for node in self._session.get_inputs()}
        self._tokenizer = Tokenizer.from_file(str(directory / TOKENIZER_FILE))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_WORDPIECES)
        self.dimension = int(self._session.get_outputs()[0].shape[-1])

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Encodes texts in one run."""
        encodings = self._tokenizer.encode_batch_fast(list(texts))
        width = max(len(encoding) for encoding in encodings)
        ids = np.zeros((len(encodings), width), np.int64)
        mask = np.zeros((len(encodings), width), np.int64)
        wanted = np.zeros((len(encodings), width), bool)
        for row, encoding in enumerate(encodings):
            ids[row, : len(encoding)] = encoding.ids
            mask[row, : len(encoding)] = 1
            wanted[row, : len(encoding)] = np.array(encoding.special_tokens_mask) == 0
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        embeddings = self._session.run(None, {name: array for name, array in feed.items() if name in self._inputs})[0]
        weights = mask[:, :, None].astype(np.float32)
        return Encoded(
            dense=unit((embeddings * weights).sum(axis=1) / weights.sum(axis=1)),
            tokens=[unit(rows[kept]) for rows, kept in zip(embeddings, wanted, strict=True)],
            pieces=[row[kept] for row, kept in zip(ids, wanted, strict=True)],
        )
