"""Safeguards of the store and of the query service."""

from safeguards.mutant import Mutant

MUTANTS = (
    Mutant(
        "ids-of-segments-are-counted",
        "services/query/treering_query/store/catalog.py",
        'self.connection.execute("update sealing set next_segment_id = ?::ubigint", [segment.segment_id + 1])',
        "pass",
        ("tests/query/test_store_faults.py::test_an_id_of_a_segment_is_never_used_again",),
    ),
    Mutant(
        "files-that-are-read-stay",
        "services/query/treering_query/store/published.py",
        "return [segment for segment in self._retired.values() if segment.segment_id not in self._holds]",
        "return list(self._retired.values())",
        ("tests/query/test_store_faults.py::test_a_file_that_a_question_reads_stays_whatever_is_dropped_and_sealed_meanwhile",),
    ),
    Mutant(
        "a-committed-batch-is-not-sealed-again",
        "services/query/treering_query/store/sealing.py",
        "is_sealed = batch.batch_id and batch.batch_id == self.state.last_batch",
        "is_sealed = False",
        ("tests/query/test_store_faults.py::test_a_step_that_fails_loses_and_doubles_nothing",),
    ),
    Mutant(
        "the-catalog-is-opened-again-after-an-error",
        "services/query/treering_query/store/catalog.py",
        "        if not self._suspect:\n            return False\n",
        "        return False\n",
        ("tests/query/test_store_disk_full.py",),
    ),
    Mutant(
        "a-batch-leaves-memory-only-when-it-is-sealed",
        "services/query/treering_query/store/published.py",
        "if self.sealing and self.sealing.batch_id == state.last_batch:",
        "if self.sealing:",
        ("tests/query/test_store_faults.py", "tests/query/test_store_cancelling.py"),
    ),
    Mutant(
        "files-of-failed-changes-are-removed",
        "services/query/treering_query/store/sealing.py",
        "                file.unlink(missing_ok=True)\n                file.with",
        "                file.with",
        ("tests/query/test_store_faults.py::test_a_step_that_fails_loses_and_doubles_nothing",),
    ),
    Mutant(
        "the-search-for-damage-ends",
        "services/query/treering_query/store/damage.py",
        "if time.monotonic() > until:",
        "if False:",
        ("tests/query/test_store_verify.py::test_the_search_for_damage_reads_what_the_question_read_and_begins_with_what_the_error_names",),
    ),
    Mutant(
        "leaves-the-quarantine-with-the-seal",
        "services/query/treering_query/store/catalog.py",
        "for left in quarantine.read_again:",
        "for left in ():",
        ("tests/query/test_quarantine.py",),
    ),
    Mutant(
        "transaction-of-the-seal",
        "services/query/treering_query/store/catalog.py",
        '        run.execute("begin")\n        try:\n            change()\n            run.execute("commit")\n',
        "        try:\n            change()\n",
        ("tests/query/test_store_crash.py",),
    ),
    Mutant(
        "searches-end-on-a-thread",
        "services/query/treering_query/search/searcher.py",
        "return await self._store.run(snapshot, partial(_answered, begun, judged), _left(end))",
        "return _answered(begun, judged, snapshot)",
        ("tests/query/test_loop_lag.py",),
    ),
    Mutant(
        "scores-are-read-on-a-thread",
        "services/query/treering_query/embed_client.py",
        "return await asyncio.to_thread(_put_together, slices, len(texts))",
        "return _put_together(slices, len(texts))",
        ("tests/query/test_loop_lag.py",),
    ),
)
