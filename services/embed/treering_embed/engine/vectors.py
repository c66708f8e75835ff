"""From patterns to what the index keeps of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from treering_embed.encoder import Encoded, Ids, unit
from treering_embed.encoder.late import project
from treering_embed.encoder.queue import Urgency
from treering_embed.encoder.renderings import render
from treering_embed.engine.engine import Engine
from treering_embed.index import PatternPoint
from treering_embed.registry.registry import RegisteredPattern
from treering_runtime.errors import ServiceError

_HARMLESS = "ready"
"""A text on which no model fails: if one does, it is the model that is out of order, and no pattern is to blame."""


@dataclass(frozen=True)
class Vectors:
    """Points of patterns, their wordpieces by pattern id, and the patterns that get no vector, with the reason."""

    points: list[PatternPoint] = field(default_factory=list)
    pieces: dict[int, Ids] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)

    def __add__(self, other: "Vectors") -> "Vectors":
        return Vectors(self.points + other.points, self.pieces | other.pieces, self.refused | other.refused)


async def make_vectors(engine: Engine, patterns: Sequence[RegisteredPattern], give_way_until: float = math.inf) -> Vectors:
    """Encodes both renderings of each pattern. Where the model fails, the patterns are halved until the one is found that it fails on.

    Args:
        engine: Has the model.
        patterns: What gets vectors.
        give_way_until: When the patterns give way to nobody any more, as `time.monotonic` says it.

    Raises:
        Exception: Whatever the model raises on any text at all; worth another attempt.
    """
    try:
        return await _encode(engine, patterns, give_way_until)
    except (MemoryError, ServiceError):  # no text is to blame for a full memory or a closed queue
        raise
    except Exception as error:  # noqa: BLE001 - models raise nearly everything; the rest of this function finds out whose fault it is
        if len(patterns) == 1:
            return await _judge(engine, patterns[0], error)
    # Every part is tried anew, down to one pattern: log(n) failed runs for each that is to blame.
    middle = len(patterns) // 2
    first = await make_vectors(engine, patterns[:middle], give_way_until)
    return first + await make_vectors(engine, patterns[middle:], give_way_until)


async def _judge(engine: Engine, pattern: RegisteredPattern, error: Exception) -> Vectors:
    """The model failed on one pattern: if it does so on this one only, and again, the pattern is to blame."""
    # A text that never fails comes first: if it does, this raises, and the pattern keeps waiting.
    await engine.encoder.encode([_HARMLESS], Urgency.PATTERNS, -math.inf)
    try:
        # Once more, alone and without giving way: a pattern is refused for good only for what it does twice.
        return await _encode(engine, [pattern], -math.inf)
    except type(error):
        return Vectors(refused={pattern.pattern_id: f"the model fails on it ({type(error).__name__})"})


async def _encode(engine: Engine, patterns: Sequence[RegisteredPattern], give_way_until: float) -> Vectors:
    rendered = [render(pattern.service, pattern.text, pattern.example) for pattern in patterns]
    # Each distinct text once: renderings without variable parts are often the same.
    place = {text: number for number, text in enumerate(dict.fromkeys(text for pair in rendered for text in pair))}
    encoded = await engine.encoder.encode(list(place), Urgency.PATTERNS, give_way_until)
    made = Vectors()
    for pattern, (general, concrete) in zip(patterns, rendered, strict=True):
        point = _point(engine, pattern, encoded, place[general], place[concrete])
        # Refused here and not in the index: one such vector must not hold back the others of its batch.
        if np.isfinite(point.dense).all() and np.isfinite(point.tokens).all():
            made.points.append(point)
            made.pieces[pattern.pattern_id] = encoded.pieces[place[concrete]]
        else:
            made.refused[pattern.pattern_id] = "its vector is not finite"
    return made


def _point(engine: Engine, pattern: RegisteredPattern, encoded: Encoded, general: int, concrete: int) -> PatternPoint:
    dense = unit(encoded.dense[general] + encoded.dense[concrete])
    return PatternPoint(pattern.pattern_id, pattern.service, dense, project(encoded.tokens[concrete], engine.basis))
