"""What the variable parts of the shop's lines are drawn from. Every draw comes from the one generator that is passed in."""

import random
import uuid
from collections.abc import Callable

WORDS = [
    "lamp",
    "chair",
    "table",
    "kettle",
    "blanket",
    "mirror",
    "shelf",
    "candle",
    "vase",
    "clock",
    "carpet",
    "pillow",
    "basket",
    "jar",
    "bench",
    "stool",
    "curtain",
    "frame",
]
NAMES = [
    "anna",
    "ben",
    "carla",
    "dmitri",
    "elif",
    "farid",
    "greta",
    "hugo",
    "ines",
    "jan",
    "kira",
    "leo",
    "mona",
    "nils",
    "olga",
    "piotr",
    "quentin",
    "rosa",
    "sven",
    "tara",
]
CITIES = ["Gdansk", "Lisbon", "Turin", "Ghent", "Aarhus", "Brno", "Graz", "Porto", "Vilnius", "Malmo"]
CARRIERS = ["Northwind", "ParcelOne", "Rapidex", "BlueVan"]
GUESSES = ["admin", "oracle", "test", "guest", "ubuntu", "postgres", "pi", "deploy", "git", "backup", "ftpuser", "jenkins"]
PATHS = ["/", "/cart", "/account", "/account/orders", "/about", "/returns", "/gift-cards", "/sale", "/api/v2/prices", "/api/v2/stock"]

Random = random.Random
_EARLY = 3.0  # exponent: how strongly small durations are preferred


def _between(low: int, high: int) -> Callable[[Random], str]:
    return lambda rng: str(rng.randint(low, high))


def _one_of(choices: list[str]) -> Callable[[Random], str]:
    return lambda rng: rng.choice(choices)


def _email(rng: Random) -> str:
    return f"{rng.choice(NAMES)}.{rng.randint(1, 9999)}@{rng.choice(['post', 'letter', 'inbox'])}.example"


def _address(rng: Random) -> str:
    return f"10.{rng.randint(0, 255)}.{rng.randint(0, 255)}.{rng.randint(1, 254)}"


VALUES: dict[str, Callable[[Random], str]] = {
    "amount": lambda rng: f"{rng.randint(5, 480)}.{rng.randint(0, 99):02d}",
    "attacker": lambda rng: f"198.51.100.{rng.choice([7, 23, 23, 23, 91])}",
    "bytes": _between(10_000, 90_000_000),
    "carrier": _one_of(CARRIERS),
    "city": _one_of(CITIES),
    "country": _one_of(["CH", "NO", "GB", "IS", "RS"]),
    "customer": lambda rng: f"C{rng.randint(1000, 9999)}",
    "date": lambda rng: f"2026-03-{rng.randint(1, 12):02d}",
    "email": _email,
    "file": lambda rng: f"/var/lib/inventory/snap-{rng.randint(100, 9999)}.bin",
    "four": lambda rng: f"{rng.randint(0, 9999):04d}",
    "guess": _one_of(GUESSES),
    "hex": lambda rng: f"{rng.getrandbits(40):010x}",
    "host": lambda rng: f"10.4.{rng.randint(0, 3)}.{rng.randint(2, 40)}:8080",
    "ip": _address,
    "locale": _one_of(["en-GB", "de-DE", "pl-PL", "pt-PT", "it-IT"]),
    "ms": lambda rng: str(int(4 + 400 * rng.random() ** _EARLY)),
    "mx": lambda rng: f"mx{rng.randint(1, 4)}.{rng.choice(['post', 'letter', 'inbox'])}.example",
    "n": _between(11, 980),
    "node": lambda rng: f"node-{rng.randint(1, 8)}",
    "order": lambda rng: f"A-{rng.randint(100_000, 999_999)}",
    "parcel": lambda rng: f"PX{rng.randint(10**8, 10**9 - 1)}",
    "path": lambda rng: rng.choice(PATHS) if rng.random() < 0.4 else f"/product/{rng.choice(WORDS)}-{rng.randint(10, 99)}",
    "pct": _between(1, 99),
    "port": _between(20_000, 60_999),
    "service": _one_of(["checkout", "payments", "inventory", "catalog", "shipping", "auth", "mailer"]),
    "shelf": lambda rng: f"{rng.choice('ABCDEF')}{rng.randint(1, 40)}",
    "sku": lambda rng: f"SKU-{rng.randint(1000, 9999)}",
    "slow": lambda rng: str(rng.randint(5_000, 9_990)),
    "small": _between(1, 9),
    "supplier": _one_of(["hofmann", "lindqvist", "moreau", "rossi"]),
    "try": _between(1, 3),
    "user": lambda rng: f"{rng.choice(NAMES)}{rng.randint(1, 99)}",
    "uuid": lambda rng: str(uuid.UUID(int=rng.getrandbits(128), version=4)),
    "voucher": lambda rng: f"{rng.choice(['SPRING', 'HELLO', 'THANKS'])}{rng.randint(5, 30)}",
    "warehouse": _one_of(["W1", "W2", "W5"]),
    "word": _one_of(WORDS),
}
