"""Makes an index and its ledger agree, when it is opened."""

import structlog

from treering_embed.index import Index
from treering_embed.kept import Background, Kept
from treering_embed.ledgers import Ledger

_LOG = structlog.get_logger()


async def verify(kept: Kept, ledger: Ledger, index: Index, threads: Background) -> set[int]:
    """What the index lacks waits again, what only the index has is deleted from it; returns what it lacked."""
    held = set((await threads.run(index.all_ids)).tolist())
    if missing := await kept.registry_thread.run(ledger.indexed_ids) - held:
        _LOG.warning("the index lacks patterns; they are encoded again", patterns=len(missing))
        await kept.registry_thread.run(ledger.requeue, missing)
    known = (await kept.registry_thread.run(kept.registry.summary, kept.book.today())).pattern_ids
    if strays := held - known:
        _LOG.warning("the index has patterns that the registry does not know; they are deleted", patterns=len(strays))
        await threads.run(index.delete, sorted(strays))
    return missing
