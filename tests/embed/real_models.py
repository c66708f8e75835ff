"""Another model, made on the spot: the real transformer's tokenizer with two small layers of random weights."""

import subprocess
import sys
from pathlib import Path

from treering_embed.encoder.weights import DEFAULT_MODEL, locate

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
