"""Writes what is packaged of all-MiniLM-L6-v2 besides its weights.

That is the basis that its token vectors are projected on, and in how many of the sample texts each wordpiece is. To be run after a change
of the sample or of how a basis is derived, which embeds everything anew anyway; it needs the extra `models`.
"""

import numpy as np

from treering_embed.encoder.prepare import PACKAGED, sampled
from treering_embed.encoder.reference import ReferenceEncoder
from treering_embed.encoder.weights import DEFAULT_MODEL, locate


def main() -> None:
    """By the SentenceTransformer, in float32 on any processor."""
    basis, frequencies = sampled(ReferenceEncoder(locate(DEFAULT_MODEL).path, threads=2))
    np.savez_compressed(PACKAGED, basis=basis.astype(np.float16), frequencies=np.frombuffer(frequencies, np.uint8))


if __name__ == "__main__":
    main()
