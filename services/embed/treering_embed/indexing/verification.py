"""Makes an index and its ledger agree, when it is opened."""

import structlog

from treering_embed.index import Index
from treering_embed.registry.kept import Background, Kept
from treering_embed.registry.ledgers import Ledger

_LOG = structlog.get_logger()


async def verify(kept: Kept, ledger: Ledger, index: Index, threads: Background) -> set[int]:
    """What the index lacks waits again, what only the index has is deleted from it; returns what it lacked."""
    # The index first: what is marked as indexed afterwards is no loss. Nothing fills it yet, as the engine is still being opened.
    held = await threads.run(_held, index)
    # every set grows with the patterns: on the event loop only their results are looked at
    if missing := await kept.registry_thread.run(lambda: ledger.indexed_ids() - held):
        _LOG.warning("the index lacks patterns; they are encoded again", patterns=len(missing))
        await kept.registry_thread.run(ledger.requeue, missing)
    # Unknown ids are left over from a crash between the registry's deletion and the index's.
    if strays := await kept.registry_thread.run(lambda: sorted(held - kept.registry.pattern_ids())):
        _LOG.warning("the index has patterns that the registry does not know; they are deleted", patterns=len(strays))
        await threads.run(index.delete, strays)
    return missing


def _held(index: Index) -> set[int]:
    return set(index.all_ids().tolist())
