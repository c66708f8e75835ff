"""`treering verify`: the patterns of the store and those of embed, whatever ids the store keeps."""

from types import SimpleNamespace

import pyarrow as pa

from treering_query.reconciliation.verification import Verification
from treering_runtime.patterns import NO_PATTERN, pattern_id

KINDS = {(1 << 63) + 5: ("shop", "order <*> paid"), 7: ("bank", "disk full")}
"""By the id that an earlier version gave."""


class Client:
    """A store with these patterns and records of none, and an embed service that knows some kinds."""

    def __init__(self, registered):
        self.registered = registered

    def get_ingest_status(self):
        return SimpleNamespace(log_id=1, end_offset_exclusive=0, start_offset=0)

    def sql(self, query, **options):
        rows = [{"pattern_id": number, "service": kind[0], "text": kind[1]} for number, kind in KINDS.items()]
        rows.append({"pattern_id": NO_PATTERN, "service": "", "text": "(others)"})
        wanted = query.partition(" in (")[2].partition(")")[0].split(", ")
        chosen = [row for row in rows if wanted == [""] or str(row["pattern_id"]) in wanted]
        schema = pa.schema([("pattern_id", pa.uint64()), ("service", pa.string()), ("text", pa.string())])
        return SimpleNamespace(table=lambda: pa.Table.from_pylist(chosen, schema))

    def digest_index(self, min_positions):
        yield SimpleNamespace(
            indexed_ids=self.registered, pending_ids=[], unreadable_ids=[], missing_ids=[], unknown_ids=[], keyword_only_count=0
        )


def verified(registered, monkeypatch):
    client = Client(registered)
    verification = Verification(client, client)
    monkeypatch.setattr(verification, "_not_excused", lambda absent: absent)
    verification._compare_patterns()
    return verification.report.pattern_count, verification.report.problems


def test_a_pattern_that_embed_knows_by_its_new_id_is_known(monkeypatch):
    new = [pattern_id(*kind) for kind in KINDS.values()]
    assert verified(new, monkeypatch) == (2, [])
    assert verified([new[0], 7], monkeypatch) == (2, [])


def test_a_pattern_that_embed_knows_by_no_id_is_a_problem(monkeypatch):
    count, problems = verified([pattern_id(*KINDS[7])], monkeypatch)
    assert count == 2
    assert problems == [f"1 patterns of the store are not known to embed: {(1 << 63) + 5}"]
