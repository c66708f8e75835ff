"""The task that seals what deliveries brought."""

import structlog
from prometheus_client import CollectorRegistry

from treering_query.sealed.seal_task import SealTask
from treering_query.sealed.sealed_state import SealBatch
from treering_query.store.deliveries import Deliveries
from treering_query.store.kept_clock import KeptClock
from treering_query.store.sealed_files import SealedFiles
from treering_runtime.progress import ProgressBoard

_LOG = structlog.get_logger()


def sealing_of(deliveries: Deliveries, files: SealedFiles, clock: KeptClock, board: ProgressBoard, registry: CollectorRegistry) -> SealTask:
    """A task that writes what is hot into segments, stamped by the retention clock, and tells the board what the log may delete."""

    async def publish(batch: SealBatch) -> None:
        # `now` is read on the catalog's thread: an operator's order to the clock is carried out there, before or after, not between.
        segment = await files.change(lambda sealer: sealer.seal(batch, clock.now()))
        # after the commit only: below this offset the log may delete
        for log_id, end in batch.ends.items():
            board.update(log_id, releasable_end=end)
        _LOG.info("sealed", rows=batch.records.num_rows, size_bytes=segment.size_bytes if segment else 0)

    return SealTask(deliveries.due_in, deliveries.begin_batch, publish, registry)
