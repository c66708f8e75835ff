"""The task that keeps the store up: retention, compaction, forgetting; now and then, in the background."""

import asyncio

import structlog

from treering_query.retention.upkeep import Policy
from treering_query.settings import QuerySettings
from treering_query.store.maintenance import Forget
from treering_query.store.store import Store

_LOG = structlog.get_logger()


class Keeper:
    """Runs `Store.keep_up` until it is closed; a failure is logged, and the next turn tries again.

    Args:
        store: What is kept up.
        policy: What is due when.
        forget: Tells the embed service of patterns without a record.
        interval_s: Pause between two turns, seconds.
    """

    def __init__(self, store: Store, policy: Policy, forget: Forget, interval_s: float) -> None:
        self._store = store
        self._policy = policy
        self._forget = forget
        self._interval_s = interval_s
        self._task = asyncio.create_task(self._run())

    @classmethod
    def from_settings(cls, store: Store, settings: QuerySettings, forget: Forget) -> "Keeper":
        """The keeper that the settings ask for."""
        policy = Policy(
            age_s=settings.retention_age_s,
            service_age_s=settings.retention_service_age_s,
            size_bytes=settings.retention_max_bytes,
            merge_up_to_rows=settings.hot_max_rows,
            merge_up_to_bytes=settings.hot_max_bytes,
        )
        return cls(store, policy, forget, settings.upkeep_interval_s)

    async def _run(self) -> None:
        while True:
            try:
                # At once after the start: what became due while the service was down is not put off.
                await turn(self._store, self._policy, self._forget)
            except Exception as error:  # noqa: BLE001 - a disk may have room again, embed may answer again; nothing is lost meanwhile
                _LOG.warning("upkeep of the store failed; it is tried again", retry_in_s=self._interval_s, problem=str(error))
            # The pause is between turns, not between their begins: a long turn is not followed by another at once.
            await asyncio.sleep(self._interval_s)

    async def close(self) -> None:
        """Stops; a change that runs is finished by the store's own thread."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def turn(store: Store, policy: Policy, forget: Forget) -> None:
    """One turn of upkeep, against the retention clock.

    Raises:
        Exception: Some of it failed; nothing is lost, and the next turn tries again.
    """
    try:
        # Before ages are looked at: a leap has to be known before anything is deleted by it.
        await store.clock.turn()
    except Exception as error:  # noqa: BLE001 - a full disk must not keep from deletion what makes room on it
        _LOG.warning("the last known time is not kept; the next turn tries again", problem=str(error))
    # after the look at the clocks: what a leap makes old is never deleted
    due = policy.without_ages() if store.clock.leapt else policy
    # The retention clock, not the one of the wall: what a wrong clock deletes cannot be had again.
    await store.keep_up(due, store.clock.now(), forget)
