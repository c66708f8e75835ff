"""Safeguards of what the services share."""

from safeguards.mutant import Mutant

MUTANTS = (
    Mutant(
        "no-ping-strikes",
        "services/runtime/treering_runtime/server.py",
        '    ("grpc.http2.max_ping_strikes", 0),\n',
        "",
        ("tests/runtime/test_server.py::test_clients_that_keep_to_their_keepalive_outlive_a_server_that_was_stopped",),
    ),
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
)
