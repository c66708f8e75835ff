"""A catalog in memory: the second implementation of `Catalog`. Each change is made on a copy, which then takes the place of the old one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from treering_query.retention.retention_clock import KeptTime
from treering_query.sealed.catalog import NotQuarantinedError, Sealed
from treering_query.templates import NO_TEMPLATES, Templates, TemplatesChange
from treering_query.values.schemas import PATTERNS_SCHEMA
from treering_query.values.segment import Expired, Segment
from treering_runtime import limits
from treering_runtime.quarantine import Change, Quarantined, QuarantineSelection, records_by_log

_NO_IDS = np.empty(0, np.uint64)


@dataclass(frozen=True)
class Kept:
    """All that it knows; nothing of it is changed in place."""

    segments: Mapping[int, Segment] = field(default_factory=dict)
    patterns: pa.Table = field(default_factory=PATTERNS_SCHEMA.empty_table)
    ends: Mapping[int, int] = field(default_factory=dict)
    links: Mapping[int, int] = field(default_factory=dict)
    quarantine: Mapping[tuple[int, int], Quarantined] = field(default_factory=dict)
    expired: tuple[Expired, ...] = ()
    last_batch: str = ""
    next_segment_id: int = 1
    clock: KeptTime | None = None
    templates: Templates = NO_TEMPLATES


class MemoryCatalog:
    """`saved`, a list of one `Kept`, outlives it as far as the test wants."""

    def __init__(self, saved: list[Kept] | None = None) -> None:
        self._saved = [Kept()] if saved is None else saved
        self._suspect = False

    @property
    def _kept(self) -> Kept:
        return self._saved[0]

    def _change(self, **changes: object) -> None:
        self._saved[0] = replace(self._kept, **changes)

    def load(self, opened: Callable[[str], Path]) -> Sealed:
        kept = self._kept
        segments = [replace(each, path=opened(each.path.name), pattern_ids=_NO_IDS) for _, each in sorted(kept.segments.items())]
        return Sealed(
            segments=tuple(segments),
            patterns=kept.patterns,
            ends=kept.ends,
            quarantined=records_by_log(list(kept.quarantine.values())),
            links=kept.links,
            expired=kept.expired,
            last_batch=kept.last_batch,
            next_segment_id=kept.next_segment_id,
            described=frozenset(kept.segments),
        )

    def commit(
        self,
        batch_id: str,
        ends: Mapping[int, int],
        links: Mapping[int, int],
        quarantine: Change,
        segment: Segment | None,
        *,
        patterns: pa.Table,
    ) -> None:
        kept = self._kept
        left = dict(kept.quarantine)
        for each in quarantine.read_again:
            if left.pop(each.key, None) is None:
                raise NotQuarantinedError(str(each.key))
        left |= {each.key: each for each in quarantine.set_aside}
        new = _segment_changes(kept, (), segment) if segment else {}
        if segment:
            known = set(kept.patterns.column("pattern_id").to_pylist())
            fresh = [row for row in patterns.to_pylist() if row["pattern_id"] not in known]
            new["patterns"] = pa.concat_tables([kept.patterns, pa.Table.from_pylist(fresh, PATTERNS_SCHEMA)])
        others = {log_id: link for log_id, link in kept.links.items() if log_id not in ends}
        told = {log_id: links[log_id] for log_id in ends if log_id in links}
        last = batch_id or kept.last_batch
        self._change(ends={**kept.ends, **ends}, links=others | told, quarantine=left, last_batch=last, **new)

    def replace(self, old: Sequence[int], segment: Segment | None, expired: Sequence[Expired]) -> None:
        self._change(
            expired=tuple(sorted(expired, key=lambda each: (each.log_id, each.first_offset))), **_segment_changes(self._kept, old, segment)
        )

    def forget(self, pattern_ids: Sequence[int]) -> None:
        rows = [row for row in self._kept.patterns.to_pylist() if row["pattern_id"] not in set(pattern_ids)]
        self._change(patterns=pa.Table.from_pylist(rows, PATTERNS_SCHEMA))

    def quarantined(self, selection: QuarantineSelection, after: tuple[int, int] | None) -> list[Quarantined]:
        page, size = [], 0
        for key, each in sorted(self._kept.quarantine.items()):
            if (after and key <= after) or selection.log_id not in {0, each.log_id}:
                continue
            if each.first_offset + each.record_count <= selection.first_offset or 0 < selection.end_offset <= each.first_offset:
                continue
            if size >= limits.QUARANTINE_PAGE_BYTES:
                break
            page.append(each)
            size += len(each.payload) + len(each.reason.encode()) + limits.QUARANTINE_ENTRY_BYTES
        return page

    def load_clock(self) -> KeptTime | None:
        return self._kept.clock

    def keep_clock(self, kept: KeptTime) -> None:
        self._change(clock=kept)

    def set_clock(self, kept: KeptTime, shift: int) -> None:
        if kept.accepted and self._kept.clock and self._kept.clock.accepted == kept.accepted:
            return
        moved = {
            number: replace(each, sealed_time=min(each.sealed_time + shift, kept.last_time)) for number, each in self._kept.segments.items()
        }
        self._change(clock=kept, segments=moved)

    def load_templates(self) -> Templates:
        return self._kept.templates

    def save_templates(self, change: TemplatesChange) -> None:
        by_id = {number: each for number, each in self._kept.templates.by_id.items() if number not in change.gone}
        by_id |= {each.id: each for each in (*change.grown, *change.new)}
        members = {pattern: number for pattern, number in self._kept.templates.template_ids.items() if pattern not in change.forgotten}
        self._change(templates=Templates(by_id, members | dict(change.moved)))

    def suspect(self) -> None:
        self._suspect = True

    def recover(self) -> bool:
        was_suspect, self._suspect = self._suspect, False
        return was_suspect

    def close(self) -> None:
        """Nothing is held."""


def _segment_changes(kept: Kept, old: Sequence[int], segment: Segment | None) -> dict[str, object]:
    left = {number: each for number, each in kept.segments.items() if number not in set(old)}
    if segment is None:
        return {"segments": left}
    return {"segments": left | {segment.segment_id: segment}, "next_segment_id": segment.segment_id + 1}
