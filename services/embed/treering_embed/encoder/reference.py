"""The SentenceTransformer itself: what every other way of computing is measured against. Imports torch."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from transformers.utils import logging

from treering_embed.encoder import Encoded, unit
from treering_embed.limits import MAX_WORDPIECES


class ReferenceEncoder:
    """A SentenceTransformer on the CPU.

    Args:
        path: Its directory.
        threads: Threads of torch.
    """

    name = "sentence-transformers"

    def __init__(self, path: Path, threads: int) -> None:
        torch.set_num_threads(threads)
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # standard error is the log of the service
        # From local files only: a name on the hub was fetched by `locate`, and nothing is fetched while the service runs.
        self.model = SentenceTransformer(str(path), device="cpu", local_files_only=True)
        self.model.max_seq_length = min(MAX_WORDPIECES, self.model.max_seq_length or MAX_WORDPIECES)
        self.dimension = int(self.model.get_embedding_dimension() or 0)
        tokenizer = self.model.tokenizer
        # An unknown wordpiece is special to the tokenizer, but it is a word of the text and keeps its vector.
        self._special = np.array(sorted(set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}), np.int64)

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Counts wordpieces."""
        cut = self.model.tokenizer(list(texts), truncation=True, max_length=self.model.max_seq_length)
        return [len(ids) for ids in cut["input_ids"]]

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Encodes texts in one run."""
        with torch.inference_mode():
            out = self.model(self.model.preprocess(list(texts)))
        ids, mask = out["input_ids"].numpy().astype(np.int64), out["attention_mask"].numpy().astype(bool)
        wanted = mask & ~np.isin(ids, self._special)
        embeddings = out["token_embeddings"].float().numpy()
        return Encoded(
            dense=unit(out["sentence_embedding"].float().numpy()),
            tokens=[unit(rows[kept]) for rows, kept in zip(embeddings, wanted, strict=True)],
            pieces=[row[kept] for row, kept in zip(ids, wanted, strict=True)],
        )
