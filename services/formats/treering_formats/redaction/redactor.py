"""Masks records."""

import re
from collections import Counter
from collections.abc import Sequence

from treering.v1.log_pb2 import LogRecord
from treering_formats.redaction.rule import Rule

_NOTHING_LEFT = "[redacted]"
_KEY_BEGINS = re.compile(r"-----BEGIN (?:[A-Z\d]+ )*PRIVATE KEY(?: BLOCK)?-----")
_KEY_ENDS = re.compile(r"-----END (?:[A-Z\d]+ )*PRIVATE KEY(?: BLOCK)?-----")
_KEY_LINE = re.compile(r"[A-Za-z\d+/=]{16,}")
_KEY_RECORDS = 200
"""So many records behind the beginning of a private key may have a line of it each. A key of 16,384 bits has 190 lines."""


class Redactor:
    """Applies rules to every text of a record: its message, names and values of attributes, service and environment.

    Attributes:
        counts: How often each rule masked something.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)
        self._keys = tuple(rule for rule in rules if rule.key)
        self._has_key_rule = any(rule.name == "private-key" for rule in rules)
        self._open_key = 0
        self.counts: Counter[str] = Counter()

    def mask(self, record: LogRecord) -> None:
        """Masks a record in its place. A message of which nothing is left says that it was redacted."""
        rest_of_key = self._rest_of_key(record.message)
        if rest_of_key is not None:
            record.message = rest_of_key
        for name in ("message", "service", "environment"):
            text = getattr(record, name)
            masked = self.masked(text)
            if masked != text:
                setattr(record, name, masked)
        if not record.message:
            record.message = _NOTHING_LEFT
        changed = {name: new for name, value in sorted(record.attributes.items()) if (new := self._pair(name, value)) != (name, value)}
        for name in changed:
            del record.attributes[name]
        for name, value in changed.values():
            record.attributes[_free(name, record)] = value

    def masked(self, text: str) -> str:
        """A text with everything masked."""
        for rule in self._rules:
            text, count = rule.masked(text)
            if count:
                self.counts[rule.name] += count
        return text

    def _rest_of_key(self, message: str) -> str | None:
        """The message behind one in which a private key began, without its line of the key: syslog makes a record of each line."""
        masked = None
        if self._open_key:
            self._open_key = 0 if _KEY_ENDS.search(message) else self._open_key - 1
            masked = "\n".join(map(_without_key, message.split("\n")))
        begins = list(_KEY_BEGINS.finditer(message)) if self._has_key_rule else []
        if begins and not _KEY_ENDS.search(message, begins[-1].end()):
            self._open_key = _KEY_RECORDS
        return masked

    def _pair(self, name: str, value: str) -> tuple[str, str]:
        """An attribute. A value under the name of a secret is one, whatever it looks like."""
        for rule in self._keys:
            if value and rule.key and rule.key.fullmatch(name):
                self.counts[rule.name] += 1
                return self.masked(name), f"[{rule.name}]"
        return self.masked(name), self.masked(value)


def _without_key(line: str) -> str:
    """A line whose last word is no line of a key."""
    text = line.rstrip()
    start = max(text.rfind(" "), text.rfind("\t"), text.rfind(":")) + 1
    return f"{text[:start]}[private key]" if _KEY_LINE.fullmatch(text, start) else line


def _free(name: str, record: LogRecord) -> str:
    """A name that no attribute has: two names can be the same once they are masked."""
    found, number = name, 2
    while found in record.attributes:
        found, number = f"{name}.{number}", number + 1
    return found
