"""Records: which template speaks when."""

import random
from bisect import bisect_left
from collections.abc import Iterator

from load.grammar import Template, make_templates, zipf_weights
from load.variables import KINDS
from load.words import NOVEL
from treering.v1.log_pb2 import LogRecord

BURST_CHANCE = 0.0005
"""Chance that a record begins a burst of its template: a loop that fails, a retry storm."""

BURST_LENGTH = (50, 400)
"""Records of a burst."""

_ENVIRONMENTS = ("prod", "prod", "prod", "staging")
_ATTRIBUTES = (("region", "eu-%d", 4), ("tenant", "t%04d", 2_000), ("http.route", "/v1/route/%d", 60))
"""The three attributes: name, form of the value, different values."""


class RecordSource:
    """Draws records; the same ones for the same seed.

    Args:
        seed: Of everything.
        attributes: 0 or 3 for each record.
    """

    def __init__(self, seed: int, attributes: int) -> None:
        self.templates = make_templates(seed)
        self._rng = random.Random(seed + 1)
        self._weights = zipf_weights(len(self.templates))
        self._attributes = _ATTRIBUTES[:attributes]

    def draw(self, count: int) -> Iterator[LogRecord]:
        """So many records, with `time_unix_nano` 1 in place of a time that is set when they are sent."""
        left, template = 0, self.templates[0]
        for _ in range(count):
            if left:
                left -= 1
            else:
                template = self._pick()
                left = self._rng.randint(*BURST_LENGTH) if self._rng.random() < BURST_CHANCE else 0
            yield self._record(template)

    def _pick(self) -> Template:
        return self.templates[bisect_left(self._weights, self._rng.random() * self._weights[-1])]

    def _record(self, template: Template) -> LogRecord:
        rng = self._rng
        return LogRecord(
            time_unix_nano=1,
            severity=template.severity,  # type: ignore[arg-type]
            service=template.service,
            environment=rng.choice(_ENVIRONMENTS),
            message=template.message(rng),
            attributes={name: form % rng.randrange(values) for name, form, values in self._attributes},
        )


def novel_record(seed: int, number: int) -> LogRecord:
    """A record whose kind no other `number` has: five plain words in a new combination."""
    rng = random.Random((seed << 32) + number)
    first, second, third, fourth, fifth = rng.sample(NOVEL, 5)
    job, waits = KINDS["id"](rng), KINDS["millis"](rng)
    text = f"{first} {second} cannot join the {third} while its {fourth} holds the {fifth}, job {job} waits {waits}"
    return LogRecord(time_unix_nano=1, severity=13, service="novelty", environment="prod", message=text)  # type: ignore[arg-type]
