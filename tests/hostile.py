"""What `make hostile` asks of a test: many tries, from the seed of its round. Elsewhere they are few, and always the same."""

import os
from random import Random

ALL = bool(os.environ.get("TREERING_ALL_HOSTILE"))
SEED = int(os.environ.get("TREERING_HOSTILE_SEED", "0"))


def chance(*use: object) -> Random:
    """Chance for one use of it: another one for each use and each seed, the same when a round is repeated."""
    return Random(" ".join(map(str, (*use, SEED))))
