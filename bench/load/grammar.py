"""Templates: sentences of the services' words, with gaps for variables."""

import itertools
import random
import re
from dataclasses import dataclass

from load.variables import KINDS
from load.words import DEEDS, DOMAINS, REMEDIES, STATES, Domain

_GAP = re.compile(r"\{(\w+)\}")

_FINE = (
    "{deed} {thing} {{id}} for user {{user}} in {{millis}}, {{count}} bytes sent to {place} at {{endpoint}}",
    "{thing} {{uuid}} {deed} by {place} after {{seconds}}",
    "GET /api/{word}/{{id}} {{status}} {{millis}} client={{address}} request_id={{hex}} agent=internal/{{version}}",
    "{count_word} {thing} {deed}: {{count}} of {{count}} ({{percent}}), next run at {{time}}",
    "{place} holds {{size}} in {{count}} files below {{path}}, oldest is from {{time}}",
    "{thing} {{hex}} is {state}, position {{count}} in {place}, owner {{mail}}, lease until {{time}}",
    'level=info msg="{thing} {deed}" component="{place}" duration={{millis}} bytes={{count}} trace={{hex}}',
    "connected to {place} {{host}} ({{endpoint}}) with {{version}}, handshake took {{millis}}, pool has {{count}} connections",
)
_BAD = (
    "cannot reach {place} at {{endpoint}} for {thing} {{id}}: {trouble}, {remedy} (attempt {{count}}, waited {{millis}})",
    "{thing} {{uuid}} failed after {{seconds}}: {trouble}; {remedy}",
    'level=warn msg="{trouble}" thing="{thing}" host={{host}} attempt={{count}} elapsed={{millis}}',
    "{trouble}: {thing} {{id}} of user {{mail}} on {{host}}, {remedy} in {{seconds}}",
    "POST /api/{word} {{status}} {{millis}} {trouble} upstream={{endpoint}} request_id={{hex}}",
)
TAILS = ("", "", " [{{host}}]", " shard={{count}} node={{host}}", " correlation={{uuid}}", " (queue depth {{count}}, lag {{millis}})")
"""What follows a sentence, so that lengths spread around 120 bytes."""

PER_SERVICE = 13
"""Templates of one service."""


@dataclass(frozen=True)
class Template:
    """One kind of line.

    Args:
        service: Who writes it.
        severity: OpenTelemetry's number.
        text: With `%s` for each variable.
        kinds: The kinds of the variables, in order.
    """

    service: str
    severity: int
    text: str
    kinds: tuple[str, ...]

    def message(self, rng: random.Random) -> str:
        """The line with fresh variables."""
        return self.text % tuple(KINDS[kind](rng) for kind in self.kinds)


def make_templates(seed: int) -> list[Template]:
    """Every template of the fleet, in an order of its own for each seed."""
    rng = random.Random(seed)
    found = [draw_template(rng, domain, service) for domain in DOMAINS for service in domain.services for _ in range(PER_SERVICE)]
    rng.shuffle(found)
    return list({(template.service, template.text): template for template in found}.values())


def draw_template(rng: random.Random, domain: Domain, service: str) -> Template:
    """A template of a service, by chance."""
    bad = rng.random() < 0.25
    words = {
        "thing": rng.choice(domain.things),
        "word": rng.choice(domain.things).replace(" ", "-"),
        "place": rng.choice(domain.places),
        "trouble": rng.choice(domain.troubles),
        "deed": rng.choice(DEEDS),
        "state": rng.choice(STATES),
        "remedy": rng.choice(REMEDIES),
        "count_word": rng.choice(("round of", "batch of", "sweep over")),
    }
    sentence = (rng.choice(_BAD if bad else _FINE) + rng.choice(TAILS)).format(**words)
    severity = rng.choice((13, 17, 17, 21)) if bad else rng.choice((5, 9, 9, 9, 9, 10))
    kinds = tuple(_GAP.findall(sentence))
    return Template(service, severity, _GAP.sub("%s", sentence.replace("%", "%%")), kinds)


def zipf_weights(count: int, exponent: float = 1.1) -> list[float]:
    """Cumulative weights of ranks 1 to `count` under Zipf's law."""
    return list(itertools.accumulate(1 / rank**exponent for rank in range(1, count + 1)))
