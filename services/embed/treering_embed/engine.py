"""What computes and holds vectors, once the model is loaded and the index is open."""

from dataclasses import dataclass

from treering_embed.encoder import Matrix
from treering_embed.encoder.prepare import PreparedModel
from treering_embed.encoder.queue import EncodeQueue
from treering_embed.index import Index
from treering_embed.kept import Background
from treering_embed.late import PieceFrequencies


@dataclass(frozen=True)
class Engine:
    """The model, the index, and what late interaction needs of both. The indexer adds to `frequencies`, searches read it."""

    model: PreparedModel
    encoder: EncodeQueue
    index: Index
    index_threads: Background
    frequencies: PieceFrequencies

    @property
    def basis(self) -> Matrix:
        """Of the token vectors."""
        return self.model.basis

    def close(self) -> None:
        """Ends the model's thread, then the index's, then closes the index."""
        self.encoder.close()
        self.index_threads.close()
        self.index.close()
