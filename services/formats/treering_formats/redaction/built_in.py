"""The rules that come with Treering.

They mask what is a secret by its form: a password that stands alone in a sentence has none. A number is a card's when its first digits and
its length are those of an issuer and its checksum is right; one in ten of that form is right by chance, and is masked, too.
"""

import re

from treering_formats.redaction.rule import Rule

_CARD = re.compile(
    r"(?<![\w.-])(?:"
    r"4\d{3}(?:[ -]?\d{4}){3}(?:[ -]?\d{3})?|4\d{12}"
    r"|(?:5[1-5]\d\d|2[2-7]\d\d|6(?:011|5\d\d|4[4-9]\d)|35\d\d|62\d\d)(?:[ -]?\d{4}){3}(?:[ -]?\d{3})?"
    r"|3[47]\d\d[ -]?\d{6}[ -]?\d{5}|3(?:0[0-5]|[68]\d)\d[ -]?\d{6}[ -]?\d{4}"
    r")(?![\w-]|\.\d)",
    re.ASCII,
)
_BEARER = re.compile(
    r"(?i)(\bbearer[ +:=\"']{1,8}"
    r"|\bauthorization[\\\"']{0,8}\s{0,8}[:=]\s{0,8}[\\\"']{0,8}(?:\w{1,20}\s{1,8})?)[\w.~+/=-]{6,}"
    r"|()(?<![\w-])eyJ[\w-]{10,8000}\.[\w-]{4,8000}\.[\w-]*",
    re.ASCII,
)
_URL = re.compile(r"(://[^\s:/@\"']{0,256}:)[^\s/@\"']{1,256}(?:@[^\s/@\"']{1,256})*(?=@)")
_WORD = (
    r"(?:passw(?:or)?d|passphrase|passwort|secret|api[_-]?key|access[_-]?key|private[_-]?key|account[_-]?key|credential"
    r"|(?:auth|access|refresh|id|session|api|csrf|security|private|personal)[_-]?token)"
)
# The name may go on on both sides: db_password_old. Its front is not looked at, so that a long text costs no more than it must.
_SECRET = re.compile(
    rf"(?i)((?:{_WORD}[\w-]{{0,64}}|\bpwd"
    r"|\btoken(?=[\\\"']{0,8}=)|\btoken(?=[\\\"']{1,8}\s{0,8}:))[\\\"']{0,8}\s{0,8}[:=]\s{0,8})"
    r"(?:(?<!\\)\"(?:[^\"\\]|\\.)*+\"|'(?:[^'\\]|\\.)*+'|\\{1,8}\"[^\"]*?\\{1,8}\"|(?![/\\{\[\"'])[^\s,;&\"'<>)}\]]+)"
)
_SECRET_KEY = re.compile(rf"(?i)[\w.-]{{0,200}}{_WORD}[\w-]{{0,64}}|(?:.{{0,200}}[._-])?(?:pwd|token|authorization|set-cookie|cookie)")
_KEY = re.compile(
    r"-----BEGIN (?:[A-Z\d]+ )*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END (?:[A-Z\d]+ )*PRIVATE KEY(?: BLOCK)?-----|\Z)", re.DOTALL
)


def has_checksum(text: str) -> bool:
    """Whether the digits of a text pass Luhn's check (ISO/IEC 7812-1, annex B)."""
    digits = [int(each) for each in text if each.isdigit()]
    doubled = (2 * each - 9 * (each > 4) for each in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


BUILT_IN = (
    Rule("private-key", _KEY, "[private key]"),
    Rule("bearer-token", _BEARER, r"\1[token]"),
    Rule("url-password", _URL, r"\1[password]"),
    Rule("secret", _SECRET, r"\1[secret]", key=_SECRET_KEY),
    Rule("card-number", _CARD, "[card number]", has_checksum),
)
"""Private keys first, because what is in them could look like anything."""
