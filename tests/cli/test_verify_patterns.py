"""`treering verify`: the patterns of the store and those of embed, whatever ids the store keeps."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from treering.v1 import admin_pb2 as pb
from treering_query.reconciliation.verification import ReconciliationReport, Verification
from treering_runtime.patterns import NO_PATTERN, pattern_id

KINDS = {(1 << 63) + 5: ("shop", "order <*> paid"), 7: ("bank", "disk full")}
"""By the id that an earlier version gave."""


class Client:
    """A store with these patterns and records of none, and an embed service that knows some kinds."""

    def __init__(self, registered: list[Any], keyword_only: list[Any] | tuple[()], forgotten: int) -> None:
        self.registered, self.keyword_only, self.forgotten = registered, keyword_only, forgotten

    def get_ingest_status(self) -> SimpleNamespace:
        return SimpleNamespace(log_id=1, end_offset_exclusive=0, start_offset=0)

    def sql(self, query: Any, **options: Any) -> SimpleNamespace:
        rows = [{"pattern_id": number, "service": kind[0], "text": kind[1]} for number, kind in KINDS.items()]
        rows.append({"pattern_id": NO_PATTERN, "service": "", "text": "(others)"})
        wanted = query.partition(" in (")[2].partition(")")[0].split(", ")
        chosen = [row for row in rows if wanted == [""] or str(row["pattern_id"]) in wanted]
        schema = pa.schema([("pattern_id", pa.uint64()), ("service", pa.string()), ("text", pa.string())])
        return SimpleNamespace(table=lambda: pa.Table.from_pylist(chosen, schema))

    def digest_index(self, min_positions: Any) -> Iterator[pb.DigestIndexResponse]:
        yield pb.DigestIndexResponse(indexed_ids=self.registered, keyword_only_ids=self.keyword_only)
        yield pb.DigestIndexResponse(forgotten_keyword_only_count=self.forgotten)


def compared(
    monkeypatch: pytest.MonkeyPatch, registered: list[Any], keyword_only: list[Any] | tuple[()] = (), forgotten: int = 0
) -> ReconciliationReport:
    client = Client(registered, keyword_only, forgotten)
    verification = Verification(client, client)
    monkeypatch.setattr(verification, "_not_excused", lambda absent: absent)
    verification._compare_patterns()
    return verification.report


def verified(registered: list[int] | list[Any], monkeypatch: pytest.MonkeyPatch) -> tuple[int, list[str]]:
    report = compared(monkeypatch, registered)
    return report.pattern_count, report.problems


def test_a_pattern_that_embed_knows_by_its_new_id_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    new = [pattern_id(*kind) for kind in KINDS.values()]
    assert verified(new, monkeypatch) == (2, [])
    assert verified([new[0], 7], monkeypatch) == (2, [])


def test_a_pattern_that_embed_knows_by_no_id_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    count, problems = verified([pattern_id(*KINDS[7])], monkeypatch)
    assert count == 2
    assert problems == [f"1 patterns of the store are not known to embed: {(1 << 63) + 5}"]


@pytest.mark.parametrize("id_of", [lambda key: key, lambda key: pattern_id(*KINDS[key])])
def test_a_pattern_that_a_cap_kept_out_hides_no_lost_one(
    monkeypatch: pytest.MonkeyPatch, id_of: Callable[[Any], Any] | Callable[[Any], int]
) -> None:
    report = compared(monkeypatch, [], [id_of(7)])
    assert report.problems == [f"1 patterns of the store are not known to embed: {(1 << 63) + 5}"]
    assert report.notes == ["1 patterns are found by their words only: a cap of embed was reached"]


def test_no_more_patterns_are_excused_than_embed_no_longer_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert compared(monkeypatch, [], forgotten=1).problems == [f"2 patterns of the store are not known to embed: {(1 << 63) + 5}, 7"]
    excused = compared(monkeypatch, [], forgotten=2)
    assert excused.problems == []
    assert excused.notes == ["2 patterns are not known to embed, which no longer names all that a cap kept out: found by their words only"]
