"""Real models: another one, made on the spot (the packaged one's tokenizer with two small layers of random weights), and how to compare."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from treering_embed.encoder import Encoded, Encoder, Matrix
from treering_embed.encoder.weights import DEFAULT_MODEL, locate
from treering_embed.limits import MAX_ENCODE_TEXTS

_CODE = """
import sys, torch
from pathlib import Path
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Pooling, Transformer
from transformers import AutoTokenizer, BertConfig, BertModel
torch.manual_seed(1)
source, out = Path(sys.argv[1]), Path(sys.argv[2])
tokenizer = AutoTokenizer.from_pretrained(source)
BertModel(BertConfig(vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128)
    ).save_pretrained(out / "bert")
tokenizer.save_pretrained(out / "bert")
word = Transformer(str(out / "bert"))
SentenceTransformer(modules=[word, Pooling(word.get_word_embedding_dimension())], device="cpu").save(str(out / "model"))
"""


def make_small_model(directory: Path) -> Path:
    """A SentenceTransformer of 64 dimensions, saved below a directory; in a child process, so that torch stays out of this one."""
    directory.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _CODE, str(locate(DEFAULT_MODEL).path), str(directory)], check=True, capture_output=True
    )
    return directory / "model"


def encode_all(encoder: Encoder, texts: Sequence[str]) -> Encoded:
    """Texts in runs, in their order."""
    parts = [encoder.encode(texts[start : start + MAX_ENCODE_TEXTS]) for start in range(0, len(texts), MAX_ENCODE_TEXTS)]
    return Encoded(
        dense=np.concatenate([part.dense for part in parts]),
        tokens=[rows for part in parts for rows in part.tokens],
        pieces=[row for part in parts for row in part.pieces],
    )


def least_cosines(left: Encoded, right: Encoded) -> tuple[float, float]:
    """Of the vectors of texts, and of those of wordpieces."""
    return _least_cosine(left.dense, right.dense), _least_cosine(np.concatenate(left.tokens), np.concatenate(right.tokens))


def _least_cosine(left: Matrix, right: Matrix) -> float:
    return float((left * right).sum(axis=1).min())
