"""Safeguards of what the services share."""

from safeguards.mutant import Mutant

MUTANTS = (
    Mutant(
        "work-outlives-its-caller",
        "services/runtime/treering_runtime/owned_tasks.py",
        "return await asyncio.shield(task)",
        "return await task",
        ("tests/runtime/test_exclusive.py",),
    ),
    Mutant(
        "one-retry-of-the-quarantine-at-a-time",
        "services/runtime/treering_runtime/sink.py",
        "await self._retries.run(functools.partial(self._retry_page, selection, after))",
        "await functools.partial(self._retry_page, selection, after)()",
        ("tests/runtime/test_sink_cancelling.py",),
    ),
    Mutant(
        "no-ping-strikes",
        "services/runtime/treering_runtime/server.py",
        '    ("grpc.http2.max_ping_strikes", 0),\n',
        "",
        ("tests/runtime/test_server.py::test_clients_that_keep_to_their_keepalive_outlive_a_server_that_was_stopped",),
    ),
    Mutant(
        "bytes-that-are-no-message",
        "services/runtime/treering_runtime/boundary.py",
        "        except DecodeError as error:\n",
        "        except ImportError as error:\n",
        ("tests/runtime/test_boundary.py",),
    ),
    Mutant(
        "no-frames-in-an-abort",
        "services/runtime/treering_runtime/boundary.py",
        "            with _Ending(self._metrics, method) as ending:\n                return await call(read(request), context)\n",
        "            try:\n                return await call(read(request), context)\n            except Exception as error:\n"
        "                with _Ending(self._metrics, method) as ending:\n                    raise\n"
        "                await ending.refuse(context)\n",
        ("tests/runtime/test_boundary.py::test_a_call_that_failed_leaves_nothing_of_its_frames",),
    ),
    Mutant(
        "a-stream-is-closed-when-it-is-given-up",
        "services/runtime/treering_runtime/boundary.py",
        "async with aclosing(call(read(request), context)) as responses:\n                    async for",
        "if responses := call(read(request), context):\n                    async for",
        ("tests/runtime/test_boundary.py::test_a_stream_that_is_given_up_is_closed_at_once",),
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
    Mutant(
        "values-of-service-links",
        "services/runtime/treering_runtime/settings.py",
        "names.fullmatch(name) and values.fullmatch(value)",
        "names.fullmatch(name)",
        ("tests/runtime/test_settings.py",),
    ),
    Mutant(
        "secrets-in-errors-of-settings",
        "services/runtime/treering_runtime/settings.py",
        ", hide_input_in_errors=True",
        "",
        ("tests/runtime/test_settings.py",),
    ),
    Mutant(
        "full-fsync-of-macos",
        "services/runtime/treering_runtime/fsync.py",
        "            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)\n",
        "            os.fsync(descriptor)\n",
        ("tests/runtime/test_fsync.py",),
    ),
    Mutant(
        "rest-of-a-short-write",
        "services/runtime/treering_runtime/data_dir.py",
        "        while rest:\n            rest = rest[out.write(rest) :]\n",
        "        out.write(rest)\n",
        ("tests/runtime/test_data_dir.py",),
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
