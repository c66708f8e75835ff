"""What happens in each cycle, drawn from a seed: who is killed, when, and what the clients do about it."""

import random
from dataclasses import dataclass
from enum import StrEnum

CLIENTS = 3
BATCHES = 10
"""Batches of one client in a cycle."""
BATCH_RECORDS = 100
RECORDS = CLIENTS * BATCHES * BATCH_RECORDS
"""Records of a cycle; where clients give up, at most 900 of them stay without an acknowledgement."""

FLEETING = "fleeting"
"""A service whose records are kept for two seconds only: nobody counts them, and their segments are dropped and rewritten all the time."""

SERVICES = ("ingest", "embed", "query")
_LONGEST_PAUSE_S = 0.08

_SUBJECTS = "payment order invoice session cart parcel voucher refund profile basket courier ledger ticket coupon mailbox".split()  # noqa: SIM905 - one line each
_VERBS = "declined accepted queued expired refreshed merged rejected archived restored throttled replayed split".split()  # noqa: SIM905 - one line each
_OBJECTS = "upstream gateway replica broker cache listener pool scheduler shard mirror worker balancer tunnel".split()  # noqa: SIM905 - one line each
_ENDS = "quietly twice early late again partially upstream abruptly slowly entirely nightly".split()  # noqa: SIM905 - one line each


class Answer(StrEnum):
    """What the clients do when the service goes away."""

    RESUME = "resume"
    """The uploader lives through it."""
    START_OVER = "start over"
    """The client dies too, and sends everything again under the same producer id."""
    GIVE_UP = "give up"
    """The client dies too, and goes on with the next batch under a new id: what had no acknowledgement may be there, once, or not."""


@dataclass(frozen=True)
class Cycle:
    """One cycle."""

    number: int
    victims: tuple[str, ...]
    """Services that are killed; all three go together with the supervisor."""
    kills: int
    """How often, one after the other."""
    after_batches: int
    """The kill comes when this many batches are acknowledged ..."""
    pause_s: float
    """... and so much later, seconds."""
    answer: Answer
    patterns: tuple[str, ...]
    """Kinds of message; most of them are new."""

    @property
    def kills_all(self) -> bool:
        """Whether nothing stays alive."""
        return self.victims == SERVICES

    def message(self, client: int, batch: int, record: int) -> str:
        """The message of one record."""
        kind = self.patterns[(client + batch + record) % len(self.patterns)]
        return f"{kind} after {record * 7 + batch} ms"


def cycle(seed: int, number: int) -> Cycle:
    """The cycle of a number: the same for the same seed."""
    draw = random.Random(f"{seed}.{number}")
    kills_all = draw.random() < 0.15
    victims = SERVICES if kills_all else (draw.choices(SERVICES, (45, 15, 40))[0],)
    answer = draw.choices(list(Answer), (60, 20, 20))[0] if "ingest" in victims else Answer.RESUME
    return Cycle(
        number=number,
        victims=victims,
        kills=1 if kills_all or answer is not Answer.RESUME or draw.random() < 0.8 else 2,
        after_batches=draw.randrange(CLIENTS * BATCHES + 1),
        pause_s=draw.uniform(0, _LONGEST_PAUSE_S),
        answer=answer,
        patterns=tuple(_pattern(draw) for _ in range(8)),
    )


def _pattern(draw: random.Random) -> str:
    return " ".join(draw.choice(words) for words in (_SUBJECTS, _VERBS, _OBJECTS, _ENDS))
