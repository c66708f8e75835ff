from pathlib import Path
from typing import Any

import pytest

from tests.cli.reading_lines import reader
from treering.v1.log_pb2 import LogRecord
from treering_cli.problems import Refusal
from treering_cli.redacting import configured_redactor
from treering_formats.redaction.built_in import has_checksum
from treering_formats.redaction.settings import RedactionError, redactor

BUILT_IN = {"built_in": True}


def masked(
    message: str, table: dict[str, object] | dict[str, dict[str, dict[str, str]]] | dict[str, bool] = BUILT_IN, **attributes: Any
) -> tuple[str, dict[Any, Any]]:
    """A message with its secrets masked, and how often each rule found one."""
    found = redactor(table)
    record = LogRecord(message=message, attributes=attributes)
    found.mask(record)
    return record.message, dict(found.counts)


SECRETS = [
    ("paid with 4111 1111 1111 1111 by ann", "paid with [card number] by ann", "card-number"),
    ("paid with 4111-1111-1111-1111.", "paid with [card number].", "card-number"),
    ("card=378282246310005;", "card=[card number];", "card-number"),
    ("5555555555554444,30569309025904", "[card number],[card number]", "card-number"),
    ("Authorization: Bearer abc.def-ghi==", "Authorization: Bearer [token]", "bearer-token"),
    ("curl -H 'authorization: Basic YW5uOnRpbGw='", "curl -H 'authorization: Basic [token]'", "bearer-token"),
    ('{"Authorization":"token 0123456789"}', '{"Authorization":"token [token]"}', "bearer-token"),
    ("saw eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln here", "saw [token] here", "bearer-token"),
    ("postgres://ann:s3cr3t!@db:5432/till", "postgres://ann:[password]@db:5432/till", "url-password"),
    ("redis://:s3cr3t@cache", "redis://:[password]@cache", "url-password"),
    ("https://ann:p@ss@host/x", "https://ann:[password]@host/x", "url-password"),
    ("password=s3cr3t ok", "password=[secret] ok", "secret"),
    ("db_password: 's3 cr3t' ok", "db_password: [secret] ok", "secret"),
    ('got {"password":"s3\\"cr3t","a":1}', 'got {"password":[secret],"a":1}', "secret"),
    ('got {\\"api_key\\":\\"s3cr3t\\",\\"a\\":1}', 'got {\\"api_key\\":[secret],\\"a\\":1}', "secret"),
    ("GET /a?token=s3cr3t&b=1", "GET /a?token=[secret]&b=1", "secret"),
    ("AWS_SECRET_ACCESS_KEY=s3cr3t/x+", "AWS_SECRET_ACCESS_KEY=[secret]", "secret"),
    ("Server=db;User Id=ann;Pwd=s3cr3t;", "Server=db;User Id=ann;Pwd=[secret];", "secret"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nok", "[private key]\nok", "private-key"),
    ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blb", "[private key]", "private-key"),
    ('{"key":"-----BEGIN PRIVATE KEY-----\\nMIIE\\n-----END PRIVATE KEY-----\\n"}', '{"key":"[private key]\\n"}', "private-key"),
]


@pytest.mark.parametrize(("text", "expected", "rule"), SECRETS)
def test_secrets_are_masked_and_counted(text: str, expected: str, rule: str) -> None:
    found, counts = masked(text)
    assert found == expected
    assert counts[rule] >= 1


@pytest.mark.parametrize(
    "text",
    [
        "paid with 4111 1111 1111 1112", "order 1234567890123456", "at 1795456800123456789", "v4111111111111111x", "1.4111111111111111",
        "the bearer of this", "http://host:8080/users/ann@till.example", "https://host/a@b", "Failed password for root",
        "password reset for ann",
        "PWD=/srv/till", "unexpected token: }", "tokens: 4096", "-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----", "password=",
    ],
)  # fmt: skip
def test_what_is_no_secret_stays(text: str) -> None:
    assert masked(text) == (text, {})


def test_the_checksum_of_cards() -> None:
    assert has_checksum("4111 1111 1111 1111")
    assert not has_checksum("4111 1111 1111 1112")


def test_every_text_of_a_record_is_masked() -> None:
    found = redactor(BUILT_IN)
    record = LogRecord(
        message="up",
        service="a password=s3cr3t",
        environment="redis://:s3cr3t@x",
        attributes={
            "db.password": "hunter2",
            "url": "ftp://ann:s3cr3t@x",
            "password=s3cr3t a": "1",
            "password=s3cr3u a": "2",
            "cookie": "x",
        },
    )
    found.mask(record)
    text = str(record)
    assert "s3cr3" not in text
    assert "hunter2" not in text
    assert dict(record.attributes) == {
        "db.password": "[secret]", "url": "ftp://ann:[password]@x", "password=[secret] a": "1", "password=[secret] a.2": "2",
        "cookie": "[secret]",
    }  # fmt: skip


KEY = [
    "-----BEGIN PRIVATE KEY-----",
    *("MIIEvQIBADANBgkqhkiG9w0B" * 2 for _ in range(5)),
    "Zm9vYmFyYmF6cXV4MTIzNA==",
    "-----END PRIVATE KEY-----",
]


def test_a_key_of_which_each_line_is_a_record_is_masked() -> None:
    text = "".join(f"Nov 23 18:00:00 web1 till: {line}\n" for line in [*KEY, "MIIEvQIBADANBgkqhkiG9w0B"])
    lines = reader(text, redactor=redactor(BUILT_IN))
    found = [record.message for _, record in lines]
    assert "".join(found).count("MIIE") == 1
    assert found[-1] == "MIIEvQIBADANBgkqhkiG9w0B"
    assert not any("Zm9v" in message for message in found)


def test_a_key_over_several_lines_is_masked_whole() -> None:
    lines = reader("2026-11-23 18:00:00 INFO key\n" + "\n".join(KEY) + "\n", redactor=redactor(BUILT_IN))
    assert [record.message for _, record in lines] == ["key\n[private key]"]


def test_nothing_is_masked_unless_somebody_asks() -> None:
    assert redactor({}) is None
    assert redactor({"built_in": False}) is None
    assert redactor({}, built_in=True) is not None


def test_rules_of_ones_own_come_first() -> None:
    table = {"rules": {"order": {"expression": r"order-(\d{4})\d+", "mask": r"order-\1****"}}, "built_in": True}
    assert masked("order-12345678 password=x", table) == ("order-1234**** password=[secret]", {"order": 1, "secret": 1})
    everything = {"rules": {"all": {"expression": ".+", "mask": ""}}}
    assert masked("anything", everything)[0] == "[redacted]"


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"rule": {}}, "redaction.rule is no setting"),
        ({"built_in": "yes"}, "true or false"),
        ({"rules": []}, r"\[redaction.rules.NAME\]"),
        ({"rules": {"a": "x"}}, "redaction.rules.a must be a table"),
        ({"rules": {"a": {"expression": "x"}}}, "redaction.rules.a needs expression and mask"),
        ({"rules": {"a": {"expression": "x", "mask": 1}}}, "redaction.rules.a needs expression and mask"),
        ({"rules": {"a": {"expression": "x", "mask": "", "flags": 1}}}, "redaction.rules.a.flags is no setting"),
        ({"rules": {"a": {"expression": "(", "mask": ""}}}, "redaction.rules.a.expression is no regular expression"),
        ({"rules": {"a": {"expression": "x*", "mask": ""}}}, "finds the empty text"),
        ({"rules": {"a": {"expression": "(x)", "mask": r"\2"}}}, "redaction.rules.a.mask"),
        ({"rules": {"secret": {"expression": "x", "mask": ""}}}, "name of a built-in rule"),
    ],
)
def test_rules_that_cannot_be_applied_are_refused(table: Any, words: str) -> None:
    with pytest.raises(RedactionError, match=words):
        redactor(table)


def test_rules_come_from_the_file_of_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TREERING_CONFIG", raising=False)
    assert configured_redactor(built_in=False) is None
    file = tmp_path / "treering.toml"
    file.write_text("[ingest]\n[redaction.rules.order]\nexpression = 'order-\\d+'\nmask = 'order'\n")
    monkeypatch.setenv("TREERING_CONFIG", str(file))
    record = LogRecord(message="order-7 password=x")
    configured_redactor(built_in=False).mask(record)
    assert record.message == "order password=x"
    for text in ("[redaction]\nbuilt-in = true\n", "redaction = 1\n", "[redaction"):
        file.write_text(text)
        with pytest.raises(Refusal, match=str(file)):
            configured_redactor(built_in=False)
    file.unlink()
    with pytest.raises(Refusal, match="No such file"):
        configured_redactor(built_in=False)
