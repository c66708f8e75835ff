"""Safeguards of what the services share."""

from safeguards.mutant import Mutant

MUTANTS = (
    Mutant(
        "directory-fsync-of-the-data-directory",
        "services/runtime/treering_runtime/data_dir.py",
        "    path.mkdir(mode=0o700, exist_ok=True)\n    sync_directory(path.parent)\n",
        "    path.mkdir(mode=0o700, exist_ok=True)\n",
        ("tests/ingest/test_power_cut.py",),
    ),
    Mutant(
        "bisection-to-the-record",
        "services/runtime/treering_runtime/quarantine.py",
        "pieces = frames if len(frames) > 1 else _records(frames[0], skip_below)",
        "pieces = frames",
        ("tests/runtime/test_quarantine.py",),
    ),
    Mutant(
        "suspects-are-read-alone",
        "services/runtime/treering_runtime/crash_notes.py",
        "if crashes < ALONE_AFTER:",
        "if crashes < UNREAD_AFTER:",
        ("tests/runtime/test_quarantine.py",),
    ),
    Mutant(
        "each-key-once",
        "services/runtime/treering_runtime/attributes.py",
        "    if _has_repeated_keys(entries, len(attributes)):\n        entries = _unique(entries)\n",
        "",
        ("tests/query/test_odd_records.py::test_thousands_of_odd_records_hide_no_healthy_one",),
    ),
    Mutant(
        "replaced-values-stay",
        "services/runtime/treering_runtime/attributes.py",
        "    return _joined(_by_row([entries.take(np.sort(winners)), Entries(kept.rows, prefixed, kept.values)]))",
        "    return entries.take(np.sort(winners))",
        ("tests/runtime/test_columns_properties.py",),
    ),
    Mutant(
        "long-names-are-cut",
        "services/runtime/treering_runtime/columns.py",
        "    return pc.utf8_slice_codeunits(names, 0, MAX_NAME_CHARACTERS) if long.any() else names",
        "    return names",
        ("tests/query/test_odd_records.py::test_many_large_records_hide_no_healthy_one",),
    ),
    Mutant(
        "zero-bytes-in-pattern-ids",
        "services/runtime/treering_runtime/patterns/batch.py",
        ', seed=len(name) if b"\\0" in name else 0)',
        ")",
        ("tests/runtime/test_patterns.py",),
    ),
    Mutant(
        "a-batch-describes-no-pattern-twice",
        "services/runtime/treering_runtime/patterns/batch.py",
        "    return pa.array(np.sort(places))",
        "    return pa.array(np.arange(len(ids)))",
        ("tests/runtime/test_patterns.py",),
    ),
    Mutant(
        "groups-in-frames-that-are-bisected",
        "services/runtime/treering_runtime/wire.py",
        "    open_groups = [tag >> 3] if tag & 7 == _GROUP else []",
        "    open_groups: list[int] = []",
        ("tests/runtime/test_quarantine.py",),
    ),
)
