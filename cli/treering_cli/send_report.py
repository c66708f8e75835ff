"""What a send says at its end: of each file how it was read, and of the records what became of them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from treering_cli.output import note

if TYPE_CHECKING:
    from treering_formats.records import RecordReader

PLAIN = "plain"
"""The form of a text that says neither time nor level."""

_LISTED = 20
_MOST_IN_JSON = 1_000


@dataclass
class FileReport:
    """How one input was read."""

    name: str
    lines: int = 0
    bytes_read: int = 0
    records: int = 0
    joined: int = 0
    blank: int = 0
    no_json: int = 0
    not_utf8: int = 0
    nul_bytes: int = 0
    left_out: int = 0
    times_not_understood: int = 0
    formats: Counter[str] = field(default_factory=Counter)
    """Records by the form that they were written in."""
    problem: str = ""
    """Why its reading ended early; empty if it did not."""

    def take(self, reader: "RecordReader") -> None:
        """Takes over what the reader counted."""
        self.lines, self.joined, self.blank, self.bytes_read = reader.lines, reader.joined, reader.blank, reader.bytes_read
        self.no_json, self.not_utf8, self.nul_bytes = reader.unparsed, reader.replaced, reader.nul_bytes
        self.formats, self.times_not_understood = reader.forms, reader.unread_times

    @property
    def plain(self) -> int:
        """Records read as plain text, also inside a wrapper: `docker+plain`."""
        return sum(count for form, count in self.formats.items() if form.rpartition("+")[2] == PLAIN)

    def json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "file": self.name,
            "lines": self.lines,
            "records": self.records,
            "joined": self.joined,
            "blank": self.blank,
            "left_out": self.left_out,
            "formats": dict(self.formats.most_common()),
            "plain": self.plain,
            "times_not_understood": self.times_not_understood,
            "not_utf8": self.not_utf8,
            "nul_bytes": self.nul_bytes,
            "problem": self.problem or None,
        }

    def words(self) -> str:
        """For people: what there is nothing of is not named."""
        if not self.records and not self.left_out:
            return f"{self.name}: empty, there is no record in it"
        forms = ", ".join(f"{form} {count:,}" for form, count in self.formats.most_common())
        counts = {
            "joined to the line before": self.joined,
            "blank": self.blank,
            "left out": self.left_out,
            "times not understood": self.times_not_understood,
            "lines that are no JSON object and were kept as plain messages": self.no_json,
            "lines that are not valid UTF-8, their wrong bytes read as Windows-1252": self.not_utf8,
            "NUL bytes left out": self.nul_bytes,
        }
        told = [f"{what}: {count:,}" for what, count in counts.items() if count]
        return "; ".join([f"{self.name}: {self.lines:,} lines, {self.records:,} records ({forms})", *told])


def tell(reports: Sequence[FileReport]) -> None:
    """Says of each file how it was read; of many, only of those in which something was odd, and of all together."""
    odd = [each for each in reports if each.problem or each.plain or each.times_not_understood or each.no_json or not each.records]
    shown = list(reports) if len(reports) <= _LISTED else odd[:_LISTED]
    for each in shown:
        note(f"treering: {each.words()}")
        if each.problem:
            note(f"treering: {each.name}: {each.problem}")
    if len(shown) < len(reports):
        note(f"treering: {total(reports).words()}")


def total(reports: Sequence[FileReport]) -> FileReport:
    """The sums over some files."""
    whole = FileReport(f"{len(reports):,} files")
    for each in reports:
        for name in ("lines", "records", "joined", "blank", "no_json", "not_utf8", "nul_bytes", "left_out", "times_not_understood"):
            setattr(whole, name, getattr(whole, name) + getattr(each, name))
        whole.formats += each.formats
    return whole


def files_json(reports: Sequence[FileReport]) -> list[dict[str, Any]]:
    """The first thousand files for programs."""
    return [each.json() for each in reports[:_MOST_IN_JSON]]
