"""Safeguards of the embedding service."""

from safeguards.mutant import Mutant

_EMBED = "services/embed/treering_embed"
_SETTLE = "            await self._settled(marked)\n"
_DELETE = "            if gone:\n                await self._on_index(self._engine.index.delete, gone)\n"

MUTANTS = (
    Mutant(
        "flush-before-indexed",
        f"{_EMBED}/filling.py",
        "        await self._on_index(self._engine.index.flush)\n",
        "",
        ("tests/embed/test_indexer.py",),
    ),
    Mutant(
        "new-patterns-give-way-to-our-sinks-only",
        f"{_EMBED}/encoder/backoff.py",
        "        if not self._is_behind():\n            return 0.0\n",
        "",
        ("tests/embed/test_backoff.py",),
    ),
    Mutant(
        "new-patterns-give-way-for-a-bounded-time",
        f"{_EMBED}/encoder/backoff.py",
        "min(self._not_before, give_way_until)",
        "self._not_before",
        ("tests/embed/test_backoff.py",),
    ),
    Mutant(
        "pauses-are-of-processor-time",
        f"{_EMBED}/encoder/backoff.py",
        "CONTENTION_BACKOFF * computed_s",
        "CONTENTION_BACKOFF * (duration_s - computed_s)",
        ("tests/embed/test_backoff.py",),
    ),
    Mutant(
        "closed-model-refuses",
        f"{_EMBED}/encoder/queue.py",
        "            if not self._closed:\n",
        "            if True:\n",
        ("tests/embed/test_encode_queue.py",),
    ),
    Mutant(
        "no-delivery-while-patterns-are-forgotten",
        f"{_EMBED}/sink.py",
        "        async with self._taking:\n            # first,",
        "        if True:\n            # first,",
        ("tests/embed/test_cancelled.py",),
    ),
    Mutant(
        "no-vector-is-written-while-patterns-are-forgotten",
        f"{_EMBED}/meaning.py",
        "                await held.enter_async_context(engine.writing)\n",
        "                pass\n",
        ("tests/embed/test_cancelled.py",),
    ),
    Mutant(
        "forgetting-goes-on-without-its-caller",
        f"{_EMBED}/meaning.py",
        "return await self._kept.tasks.run(self._forget(pattern_ids, below))",
        "return await self._forget(pattern_ids, below)",
        ("tests/embed/test_cancelled.py",),
    ),
    Mutant(
        "reindex-begins-without-its-caller",
        f"{_EMBED}/reindexing.py",
        "await self._kept.tasks.run(self._begin_checked(wanted, before))",
        "await self._begin_checked(wanted, before)",
        ("tests/embed/test_cancelled.py",),
    ),
    Mutant(
        "done-patterns-are-settled-before-the-index-is-asked",
        f"{_EMBED}/filling.py",
        f"{_SETTLE}{_DELETE}",
        f"{_DELETE}{_SETTLE}",
        ("tests/embed/test_indexer.py",),
    ),
)
