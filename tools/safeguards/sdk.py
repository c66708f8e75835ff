"""Safeguards of the SDK and of the command line."""

from safeguards.mutant import Mutant

MUTANTS = (
    Mutant(
        "an-exception-leaves-time-to-send",
        "sdk/treering/uploader.py",
        "            if self._drain_for_s:\n",
        "            if False:\n",
        ("tests/sdk/test_uploader_endings.py",),
    ),
    Mutant(
        "close-has-a-timeout",
        "sdk/treering/uploader.py",
        "        is_late = not self._wait_for_end(timeout)\n",
        "        is_late = not self._wait_for_end(None)\n",
        ("tests/sdk/test_uploader_endings.py::test_close_ends_in_time_and_says_what_may_not_be_stored",),
    ),
    Mutant(
        "the-end-of-the-program-sends",
        "sdk/treering/uploader.py",
        "        atexit.register(self._at_exit)\n",
        "",
        ("tests/sdk/test_uploader_endings.py::test_a_program_that_ends_without_close_has_its_last_records_stored_once",),
    ),
    Mutant(
        "an-error-is-made-for-each-raise",
        "sdk/treering/errors.py",
        "    made = copy.copy(error)\n",
        "    made = error\n",
        ("tests/sdk/test_uploader_endings.py::test_the_error_of_a_failed_upload_does_not_grow",),
    ),
    Mutant(
        "nothing-is-awaited-once-a-record-is-taken",
        "sdk/treering/uploader_aio.py",
        "time.monotonic()) or first:\n            self._wake()\n",
        "time.monotonic()) or first:\n            self._wake()\n            await asyncio.sleep(0)\n",
        ("tests/sdk/test_uploader_cancelling.py",),
    ),
    Mutant(
        "waiting-for-the-sending-task-is-not-owning-it",
        "sdk/treering/uploader_aio.py",
        "        return not self._task or bool((await asyncio.wait({self._task}, timeout=timeout_s))[0])\n",
        "        if self._task:\n            await self._task\n        return True\n",
        ("tests/sdk/test_uploader_cancelling.py::test_whoever_stops_waiting_does_not_shorten_the_sending",),
    ),
    Mutant(
        "a-cancelled-sending-task-sends-what-was-taken",
        "sdk/treering/uploader_aio.py",
        "            if self._aborted:\n                raise\n",
        "            raise\n",
        ("tests/sdk/test_uploader_cancelling.py",),
    ),
    Mutant(
        "what-was-in-flight-goes-again-after-a-cancellation",
        "sdk/treering/uploader_aio.py",
        "        finally:\n            self._state.broke()  # also when this task is cancelled: what was in flight goes again\n",
        "        self._state.broke()\n",
        ("tests/sdk/test_uploader_cancelling.py",),
    ),
    Mutant(
        "changes-are-not-repeated-behind-the-caller",
        "sdk/treering/channels.py",
        '"GetEmbedStatus", "ScorePatterns"',
        '"GetEmbedStatus", "StartReindex", "ScorePatterns"',
        ("tests/sdk/test_channels.py::test_a_change_is_never_repeated_behind_its_caller",),
    ),
    Mutant(
        "wait-outlives-a-busy-sink",
        "sdk/treering/cli/visibility.py",
        '        return f"gives no answer ({error.message})"\n',
        "        raise\n",
        ("tests/cli/test_send_endings.py::test_wait_goes_on_whatever_a_busy_sink_answers",),
    ),
    Mutant(
        "send-answers-however-it-ends",
        "sdk/treering/cli/send.py",
        "    _report(sending)\n    sending.finish()\n",
        "    sending.finish()\n    _report(sending)\n",
        ("tests/cli/test_send_endings.py",),
    ),
    Mutant(
        "the-last-line-of-a-pipe-is-not-held-back",
        "sdk/treering/cli/send.py",
        "UntilInterrupted(stream) if source.name == STDIN else stream",
        "stream",
        ("tests/cli/test_send_endings.py::test_ctrl_c_sends_what_came_through_a_pipe",),
    ),
    Mutant(
        "a-file-is-cut-into-the-same-batches-again",
        "sdk/treering/cli/send.py",
        '"linger_s": math.inf, "drain_for_s": 0.0}',
        '"linger_s": math.inf}',
        ("tests/cli/test_send_endings.py",),
    ),
    Mutant(
        "no-batch-is-larger-than-ingest-takes",
        "sdk/treering/upload_state.py",
        'min(options.get("max_batch_records", MAX_BATCH_RECORDS), LARGEST_BATCH_RECORDS)',
        'options.get("max_batch_records", MAX_BATCH_RECORDS)',
        ("tests/sdk/test_uploader.py",),
    ),
)
