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
        "names-count-in-the-size-of-an-answer",
        "services/query/treering_query/records.py",
        'for name in ("service", "environment", "message", "attributes"))',
        'for name in ("message", "attributes"))',
        ("tests/query/test_odd_records.py::test_names_count_in_the_size_of_an_answer",),
    ),
)
