"""Safeguards of the store and of the query service."""

from safeguards.mutant import Mutant

MUTANTS = (
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
        '        run.execute("begin")\n        try:\n            change()\n            run.execute("commit")\n'
        "        except BaseException:\n"
        '            run.execute("rollback")\n            raise\n',
        "        change()\n",
        ("tests/query/test_store_crash.py",),
    ),
    Mutant(
        "exports-are-admitted",
        "services/query/treering_query/export.py",
        "async with self.admission.slot(timeout_s):",
        'async with Admission("export", 10**6, 0).slot(None):',
        ("tests/query/test_export.py",),
    ),
    Mutant(
        "batches-of-an-export-are-small",
        "services/query/treering_query/export.py",
        "return max(1, min(_BATCH_ROWS, _BATCH_BYTES * rows // max(size, 1)))",
        "return 1_000_000",
        ("tests/query/test_export.py",),
    ),
    Mutant(
        "joins-after-the-reading-under-way",
        "services/query/treering_query/hub.py",
        "if not self._is_reading:",
        "if True:",
        ("tests/query/test_hub.py",),
    ),
    Mutant(
        "places-of-a-slow-tail-are-bounded",
        "services/query/treering_query/tail_news.py",
        "while self._count > limits.MAX_TAIL_BEHIND_RECORDS:",
        "while False:",
        ("tests/query/test_hub.py",),
    ),
    Mutant(
        "a-failed-reading-lets-all-go",
        "services/query/treering_query/hub.py",
        "                feed.lose()\n",
        "                pass\n",
        ("tests/query/test_hub.py",),
    ),
    Mutant(
        "tails-and-watches-are-bounded",
        "services/query/treering_query/service.py",
        'Admission("follow", bounds.followers, 0',
        'Admission("follow", 10**6, 0',
        ("tests/query/test_cancelled_questions.py",),
    ),
    Mutant(
        "one-zygote-in-place-of-another",
        "services/query/treering_query/sql/runner.py",
        "if self._zygote is gone or self._zygote is None:",
        "if True:",
        ("tests/query/test_sql_walls.py",),
    ),
)
