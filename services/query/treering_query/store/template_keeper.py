"""The task that runs passes: when patterns have come, on a thread of its own."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import starmap

import pyarrow as pa
import structlog
from prometheus_client import CollectorRegistry, Histogram

from treering_query import limits
from treering_query.store.intake import unknown
from treering_query.store.pattern_rows import listed, whole
from treering_query.store.shelf import Shelf
from treering_query.templates.changes import TemplatesChange, alive, change
from treering_query.templates.joining import PatternRow, Templates, find_templates
from treering_query.values.pattern_ids import has_pattern
from treering_query.view.view import View
from treering_runtime.memory import release_freed

_LOG = structlog.get_logger()

_REST = 9
"""How many times as long as a pass the pause after it is at least: passes take at most a tenth of one core."""

_RETRY_S = 30.0
"""Pause after a pass that failed, seconds: a full disk may have room again."""


class TemplateKeeper:
    """Joins new patterns into templates, and lets those go whose patterns are gone.

    *Idle* until `wake`; then *passing*: joined on the thread, saved, published; then *resting* for `pause_s` seconds, or longer after a
    long pass. Patterns that come meanwhile are of the next pass. Until then each is listed as a template by itself, under its own id,
    which stays valid whatever it is joined to.

    Args:
        store: Whose patterns.
        registry: Where passes are timed.
        pause_s: Least pause between two passes, seconds.
    """

    def __init__(self, store: Shelf, registry: CollectorRegistry, pause_s: float = limits.TEMPLATE_PAUSE_S) -> None:
        self._store = store
        self._pause_s = pause_s
        # A flag and not a queue: however much has come, one pass sees all of it.
        self._due = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._forgotten = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="templates")
        self._seconds = Histogram(
            "treering_query_template_pass_seconds", "Duration of passes over the patterns, seconds", registry=registry
        )

    def wake(self, *, forgotten: bool = False) -> None:
        """Patterns have come, or some were forgotten."""
        # Sticky until a pass takes it: a later wake-up without it must not hide an earlier one.
        self._forgotten = self._forgotten or forgotten
        # In this order, without an await: nobody who waits for `settled` gets through between the two.
        self._idle.clear()
        self._due.set()

    async def settled(self) -> None:
        """Returns when every pattern that is known has passed."""
        await self._idle.wait()

    async def run(self) -> None:
        """Runs passes for ever."""
        while True:
            await self._due.wait()
            # Before the pass reads the view: what comes from here on sets it again and is of the next pass.
            self._due.clear()
            forgotten, self._forgotten = self._forgotten, False
            started = time.monotonic()
            try:
                changed = await self._pass(forgotten=forgotten)
            except Exception:  # noqa: BLE001 - templates are a convenience: whatever is wrong may pass, and nothing is lost meanwhile
                _LOG.exception("joining patterns into templates failed; it is tried again", retry_in_s=_RETRY_S)
                await asyncio.sleep(_RETRY_S)
                # The pass has taken the flags; they are given back, or the change would wait for the next new pattern.
                self.wake(forgotten=forgotten)
                continue
            seconds = time.monotonic() - started
            self._seconds.observe(seconds)
            # Patterns that came during the pass are not in it.
            if not self._due.is_set():
                self._idle.set()
            # A pass without a result was short, and the next one begins only when something comes.
            if changed:
                await asyncio.sleep(max(self._pause_s, _REST * seconds))

    def close(self) -> None:
        """Ends the thread; a pass that runs is waited for, and comes to nothing."""
        self._thread.shutdown()

    async def _pass(self, *, forgotten: bool) -> bool:
        """One pass; False when there was nothing to do."""
        # One immutable value: the thread reads it while deliveries go on.
        view = self._store.view
        loop = asyncio.get_running_loop()
        templates, found = await loop.run_in_executor(self._thread, _regroup, view, forgotten)
        if found.is_empty:
            return False
        # Saved before shown: an id that somebody saw must be valid after a restart.
        await self._store.save_templates(found)
        published = False
        # New patterns may come while the tables are made; then they are made again. Only whole tables replace whole tables.
        while not published:
            before = self._store.view.patterns
            after = await loop.run_in_executor(self._thread, _relist, before, templates) if found.shows else None
            published = self._store.publish_templates(templates, before, after)
        # The allocator keeps freed pages; after a large pass they are worth giving back.
        if len(found.moved) >= limits.RELEASE_AFTER_PATTERNS:
            await loop.run_in_executor(self._thread, release_freed)
        return True


def _regroup(view: View, forgotten: bool) -> tuple[Templates, TemplatesChange]:  # noqa: FBT001 - an executor passes no names
    listed_now = whole(view.patterns).select(["pattern_id", "text"])
    patterns = listed_now.filter(has_pattern(listed_now.column("pattern_id")))
    # Costs a look at all patterns, so only after some were forgotten.
    former = alive(view.templates, patterns.column("pattern_id").to_pylist()) if forgotten else view.templates
    # The cost of a pass grows with what is joined. Beyond the limit each pattern stays a template by itself.
    room = max(limits.MAX_TEMPLATE_PATTERNS - len(former.template_ids), 0)
    arrived = unknown(patterns, former.template_ids).slice(0, room)
    # From the former result on: templates only grow, so an id keeps its meaning.
    latter = find_templates(starmap(PatternRow, zip(*(column.to_pylist() for column in arrived.columns), strict=True)), former)
    return latter, change(view.templates, latter)


def _relist(tables: Sequence[pa.Table], templates: Templates) -> pa.Table:
    return listed(whole(tables), templates)
