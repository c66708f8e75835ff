"""What the store holds at one moment, as one immutable value that is replaced whole."""

from collections import deque
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from treering.v1.log_pb2 import Position
from treering_query.templates.joining import NO_TEMPLATES, Templates
from treering_query.values.pattern_ids import Ids, as_ids
from treering_query.values.schemas import COUNTS_SCHEMA, LISTED_SCHEMA
from treering_query.values.segment import Expired, Segment
from treering_query.view.hot import Chunk
from treering_runtime.patterns import NO_PATTERN

if TYPE_CHECKING:
    from treering_query.view.session import Session


@dataclass(frozen=True)
class View:
    """Everything that is visible: sealed segments, hot chunks, patterns."""

    segments: tuple[Segment, ...] = ()
    sealing: tuple[Chunk, ...] = ()
    """Hot chunks on their way into a segment; visible as before."""
    active: tuple[Chunk, ...] = ()
    """Hot chunks that grow."""
    sealed_counts: pa.Table = field(default_factory=COUNTS_SCHEMA.empty_table)
    """Statistics of all segments together."""
    patterns: tuple[pa.Table, ...] = ()
    """Tables of `LISTED_SCHEMA`, no pattern twice, in the order in which they came."""
    templates: Templates = NO_TEMPLATES
    """What the last pass over the patterns joined; by now there may be more patterns."""
    seen: tuple[tuple[int, int], ...] = ()
    """(log_id, visible end) of each log."""
    expired: tuple[Expired, ...] = ()
    """What retention has removed since the store was made: a check can tell it from what was lost."""
    # The only part that changes. Not of `replace`: a new view begins with none, as the relations of the old sessions are not its own.
    idle: "deque[Session]" = field(default_factory=deque, init=False, repr=False, compare=False)
    """Sessions that have this view's relations and wait for the next question; they go with the view."""

    @cached_property
    def has_records_without_pattern(self) -> bool:
        """Whether the service of some records is not that of their pattern, because they have none."""
        # Few tables, computed once for a view: it decides which of two statements a question becomes.
        return any(pc.index(table.column("pattern_id"), NO_PATTERN).as_py() >= 0 for table in self.patterns)

    @property
    def pattern_count(self) -> int:
        """Known patterns."""
        rows: int = sum(table.num_rows for table in self.patterns)
        # The row that such records share is no pattern.
        return rows - self.has_records_without_pattern

    @property
    def hot(self) -> tuple[Chunk, ...]:
        """All hot chunks."""
        return (*self.sealing, *self.active)

    def patterns_of(self, template_ids: Ids) -> Ids:
        """The patterns of some templates; an id whose template was joined to another one leads there."""
        wanted = {self.templates.template_ids.get(identity, identity) for identity in template_ids.tolist()}
        listed = self.listed()
        chosen = listed.filter(pc.is_in(listed.column("template_id"), pa.array(wanted, pa.uint64())))
        return as_ids(chosen.column("pattern_id").to_numpy())

    def listed(self) -> pa.Table:
        """All patterns as one table of `LISTED_SCHEMA`."""
        return pa.concat_tables([LISTED_SCHEMA.empty_table(), *self.patterns])

    def positions(self) -> list[Position]:
        """What is visible, for answers."""
        return [Position(log_id=log_id, offset=offset) for log_id, offset in self.seen]
