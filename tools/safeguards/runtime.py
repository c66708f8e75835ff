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
        "lag-is-counted-from-when-it-was-due",
        "services/runtime/treering_runtime/loop_lag.py",
        "lag = max(0.0, now - self._due)",
        "lag = 0.0",
        ("tests/runtime/test_loop_lag.py",),
    ),
    Mutant(
        "a-lag-is-logged-once-a-minute",
        "services/runtime/treering_runtime/loop_lag.py",
        "self._silent_until = now + _WARN_EVERY_S",
        "self._silent_until = now",
        ("tests/runtime/test_loop_lag.py",),
    ),
)
