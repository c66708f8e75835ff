"""What fills the gaps of a template: variables of the kinds that real logs hold."""

import random
from collections.abc import Callable, Mapping

_HOSTS = ("web", "db", "worker", "edge", "cache", "build")
_NAMES = ("amelia", "bjorn", "chidi", "dolores", "emre", "fatima", "goran", "hana", "ines", "jun", "kofi", "leila", "mateo", "nadia")
_DIRECTORIES = ("var/lib", "srv/data", "opt/app", "mnt/volume", "tmp/build")
_UNITS = ("B", "KiB", "MiB", "GiB")


def _address(rng: random.Random) -> str:
    return f"10.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"


def _uuid(rng: random.Random) -> str:
    digits = f"{rng.getrandbits(128):032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


KINDS: Mapping[str, Callable[[random.Random], str]] = {
    "count": lambda rng: str(int(rng.paretovariate(0.7))),
    "id": lambda rng: str(rng.randrange(10**5, 10**9)),
    "hex": lambda rng: f"{rng.getrandbits(64):016x}",
    "uuid": _uuid,
    "address": _address,
    "endpoint": lambda rng: f"{_address(rng)}:{rng.randrange(1024, 65536)}",
    "host": lambda rng: f"{rng.choice(_HOSTS)}-{rng.randrange(64):02d}.eu-{rng.randrange(1, 4)}.internal",
    "millis": lambda rng: f"{rng.lognormvariate(3, 1.5):.1f}ms",
    "seconds": lambda rng: f"{rng.lognormvariate(0, 1):.2f} s",
    "size": lambda rng: f"{rng.lognormvariate(4, 1):.1f} {rng.choice(_UNITS)}",
    "percent": lambda rng: f"{rng.random() * 100:.0f}%",
    "path": lambda rng: f"/{rng.choice(_DIRECTORIES)}/{rng.getrandbits(24):06x}/part-{rng.randrange(1000):04d}.dat",
    "mail": lambda rng: f"{rng.choice(_NAMES)}{rng.randrange(1000)}@example.org",
    "user": lambda rng: f"'{rng.choice(_NAMES)}'",
    "time": lambda rng: f"2026-0{rng.randrange(1, 10)}-{rng.randrange(10, 29)}T{rng.randrange(10, 24)}:{rng.randrange(10, 60)}:07Z",
    "version": lambda rng: f"v{rng.randrange(9)}.{rng.randrange(30)}.{rng.randrange(9)}",
    "status": lambda rng: str(rng.choice((200, 200, 200, 201, 204, 304, 400, 404, 429, 500, 502, 503))),
}
"""A value of each kind, drawn from `rng`."""
