"""How far a reindex is, as callers are told."""

from dataclasses import dataclass
from enum import Enum

from treering_embed.registry.ended import EndedReindex


class Phase(Enum):
    """What a reindex is doing."""

    IDLE = "idle"
    PREPARING = "preparing"
    EMBEDDING = "embedding"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class ReindexProgress:
    """The reindex that runs, or the last one of this process; `problem` says what it waits for, or why it failed."""

    phase: Phase = Phase.IDLE
    model: str = ""
    done: int = 0
    started_ns: int = 0
    problem: str = ""
    number: int = 0
    """Its id: the number of the index that it makes; 0 until it is noted durably."""
    request_id: str = ""

    @property
    def running(self) -> bool:
        """Whether another one has to wait."""
        return self.phase in {Phase.PREPARING, Phase.EMBEDDING}

    @classmethod
    def of_ended(cls, ended: EndedReindex) -> "ReindexProgress":
        """Of one that ended, perhaps before this process began."""
        phase = Phase(ended.outcome.value)
        return cls(phase, ended.model, ended.done, problem=ended.problem, number=ended.number, request_id=ended.request_id)
