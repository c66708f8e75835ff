"""Safeguards of the embedding service."""

from safeguards.mutant import Mutant

MUTANTS = (
    Mutant(
        "flush-before-indexed",
        "services/embed/treering_embed/filling.py",
        "        await self._on_index(self._engine.index.flush)\n",
        "",
        ("tests/embed/test_indexer.py",),
    ),
)
