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
        "searches-end-on-a-thread",
        "services/query/treering_query/search/searcher.py",
        "return await self._store.run(snapshot, partial(_answered, begun, judged), _left(end))",
        "return _answered(begun, judged, snapshot)",
        ("tests/query/test_loop_lag.py",),
    ),
)
