"""Texts that nobody writes on purpose, through the real services: as questions and as messages. Nothing crashes, nothing is lost."""

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from tests.hostile import ALL, chance
from tests.odd_messages import TEXTS
from tests.system.conftest import Up
from treering import Client, InvalidArgumentError, LogRecord, log_filter
from treering.channels import Endpoints
from treering.v1.log_pb2 import Position

pytestmark = pytest.mark.system

SERVICE = "odd"
MIB = 1024 * 1024

QUESTIONS = {
    "one character": "x",
    "one letter of another script": "ж",
    "punctuation": "?!…",
    "looks binary": bytes(range(1, 256)).decode("latin-1"),
    "escapes": "\x1b[31mred\x07\x08",
    "a lone combining mark": "\u0301",
    "emoji": "🔥💳🚫",
    "emoji family": "👩‍👩‍👧‍👦 cannot pay",
    "right to left": "فشل الدفع بسبب انتهاء المهلة",
    "right to left with marks": "\u202edrawkcab\u202c שלום",
    "Chinese": "磁盘快要坏了",
    "Japanese": "支払いがタイムアウトしました",
    "Hindi": "डिस्क खराब हो रही है",
    "Polish": "nie można zapłacić za zamówienie",
    "German": "die Festplatte stirbt",
    "mixed": "disk 磁盘 диск दिस्क 🔥",
    "SQL": "'; drop table logs; --",
    "wildcards": "%_*?[a-z]\\",
    "quotes": '"',
    "empty quotes": '"" "" ""',
    "many identifiers": " ".join(f"id_{number}=0x{number:x}" for number in range(500)),
    "as long as it may be": "long " * 2_000,
    "one long word": "x" * 10_000,
}

REFUSED = {"empty": "", "white space": " \t\n\u2003", "zero byte": "a\0b", "100 kB": "disk failure " * 8_000}

MESSAGES = {
    "one token": "started",
    "one character": ".",
    "only variables": "10.0.0.1 4711 0xdeadbeef 2026-03-12T10:00:00Z",
    "control characters": "\x01\x02 before \x1b[2J after \x7f",
    "zero byte": "before\0after",
    "line ends": "first\r\nsecond\u2028third",
    "white space": "   \t  ",
    "emoji": "🔥 payment 💳 failed",
    "right to left": "فشل الدفع رقم 42",
    "Chinese": "磁盘 sda1 即将损坏",
    "looks like SQL": "'; delete from logs; --",
    "looks like a mask": "<*> <*> <*>",
    "broken JSON": '{"event": "half',
    "deep JSON": '{"a":' * 2_000,
    "nearly 1 MB of words": "word " * (MIB // 5 - 100),
    "nearly 1 MB of one token": "y" * (MIB - 1_000),
    "nearly 1 MB of variables": "4711 " * (MIB // 5 - 100),
}


def of_pieces(random: Random, pieces: list[Any]) -> str:
    """A text of some of them, which always says something."""
    return random.choice(["", " "]).join(["x", *random.choices(pieces, k=random.randrange(1, 12))])[:2_000]


for number in range(30 if ALL else 2):
    QUESTIONS[f"chance {number}"] = of_pieces(
        chance("questions", number), [text.replace("\0", "") for text in (*TEXTS, *QUESTIONS.values())]
    )
    MESSAGES[f"chance {number}"] = of_pieces(chance("messages", number), [*TEXTS, *QUESTIONS.values()])


@pytest.fixture(scope="module")
def client(up: Up) -> Iterator[Client]:
    with Client(Endpoints(up.ready["ingest"], up.ready["embed"], up.ready["query"]), timeout=120) as connected:
        yield connected


@pytest.fixture(scope="module")
def positions(client: Client) -> tuple[Position, ...]:
    """Where everything odd is visible."""
    with client.uploader() as upload:
        for name, message in MESSAGES.items():
            upload.send(LogRecord(service=SERVICE, message=message, attributes={"name": name}))
    result = upload.result()
    assert (result.accepted, result.rejected) == (len(MESSAGES), 0)
    return result.positions


@pytest.mark.parametrize("mode", ["hybrid", "semantic", "keyword"])
@pytest.mark.parametrize("name", QUESTIONS)
def test_an_odd_question_is_answered(client: Client, positions: tuple[Position, ...], name: str, mode: str) -> None:
    answer = client.search_logs(QUESTIONS[name], mode=mode, min_positions=positions, samples_per_pattern=1)
    assert answer.degraded_because == ""
    assert all(0 <= result.score <= 1 and result.count > 0 for result in answer.results)
    assert mode == "keyword" or answer.results


@pytest.mark.parametrize("name", REFUSED)
def test_a_question_that_cannot_be_answered_is_refused_by_name(client: Client, name: str) -> None:
    with pytest.raises(InvalidArgumentError, match="text"):
        client.search_logs(REFUSED[name])


@pytest.mark.parametrize("name", MESSAGES)
def test_an_odd_message_is_kept_letter_by_letter(client: Client, positions: tuple[Position, ...], name: str) -> None:
    only = log_filter(services=[SERVICE], where={"name": name})
    answer = client.search_logs("whatever it is", filter=only, min_positions=positions, flat=True)
    assert [result.records[0].record.message for result in answer.results] == [MESSAGES[name]]


def test_an_odd_message_is_found_by_a_piece_of_it(client: Client, positions: tuple[Position, ...]) -> None:
    for piece in ("磁盘 sda1", "💳 failed", "فشل الدفع", "before \x1b[2J"):
        answer = client.search_logs(
            piece, filter=log_filter(services=[SERVICE]), min_positions=positions, page_size=1, samples_per_pattern=1
        )
        assert piece in answer.results[0].records[0].record.message


def test_nothing_odd_is_lost(client: Client, positions: tuple[Position, ...]) -> None:
    answer = client.aggregate_logs(filter=log_filter(services=[SERVICE]), min_positions=positions)
    assert answer.rows[0].values[0].value == len(MESSAGES)


@pytest.mark.parametrize("name", MESSAGES)
def test_an_odd_message_has_records_like_it(client: Client, positions: tuple[Position, ...], name: str) -> None:
    only = log_filter(services=[SERVICE], where={"name": name})
    (kept,) = client.search_logs("whatever it is", filter=only, min_positions=positions, flat=True).results
    answer = client.search_logs(like=kept.records[0].position, samples_per_pattern=100)
    assert answer.results[0].pattern_id == kept.pattern_id
    assert kept.records[0].position in [record.position for record in answer.results[0].records]


@pytest.mark.parametrize("token", ["x", "🔥", "שגיאה", "A" * 20_000, "\x01", "%_\\'\"", "===="])
def test_an_odd_page_token_is_refused_by_name(client: Client, token: str) -> None:
    with pytest.raises(InvalidArgumentError, match="page_token"):
        client.search_logs("disk", page_token=token)
