"""Safeguards of the ingest service, the log itself left out."""

from safeguards.mutant import Mutant

INGEST = "tests/ingest/"

MUTANTS = (
    Mutant(
        "acknowledgement-before-the-sync",
        "services/ingest/treering_ingest/committer.py",
        "        self.log.append(batches)\n        if sync:\n",
        "        self.log.append(batches)\n        if False:\n",
        (INGEST + "test_committer.py::test_an_acknowledged_batch_is_synced",),
    ),
    Mutant(
        "sequence-check",
        "services/ingest/treering_ingest/producers.py",
        "        if sequence > last:\n            raise _gap(sequence, last + 1)\n",
        "        if sequence > last:\n            return None\n",
        (INGEST + "test_service.py", INGEST + "test_producers_properties.py"),
    ),
    Mutant(
        "batch-hash-check",
        "services/ingest/treering_ingest/producers.py",
        "if stored.sequence == sequence and stored.batch_hash == batch_hash:",
        "if stored.sequence == sequence:",
        (INGEST + "test_service.py", INGEST + "test_producers_properties.py"),
    ),
    Mutant(
        "note-before-sending",
        "services/ingest/treering_ingest/delivery.py",
        "                self._sending(window.end_offset)\n",
        "",
        (INGEST + "test_delivery.py",),
    ),
    Mutant(
        "a-stream-ends-as-its-reading-ended",
        "services/ingest/treering_ingest/upload.py",
        "            self._reading.result()\n",
        "",
        (INGEST + "test_stream_ends.py",),
    ),
    Mutant(
        "an-error-for-each-who-is-refused",
        "services/ingest/treering_ingest/intake.py",
        "        return _disk_low(self._disk) if self._disk.is_low or self.committer.disk_full else None\n",
        """        if not self._disk.is_low:
            return None
        self._one = getattr(self, "_one", None) or _disk_low(self._disk)
        return self._one
""",
        (INGEST + "test_refusals.py",),
    ),
    Mutant(
        "a-claim-of-what-was-never-sent-is-no-progress",
        "services/ingest/treering_ingest/delivery.py",
        "            if _furthest(progress) > window.end_offset:\n",
        "            if progress.next_offset > window.end_offset:\n",
        (INGEST + "test_delivery.py::test_a_sink_that_claims_what_it_never_got_is_cut_off_and_at_the_start_no_offset_is_given_out",),
    ),
    Mutant(
        "the-link-of-a-place-is-that-of-the-record-before",
        "services/ingest/treering_ingest/wal/reader.py",
        "if info.name.first_offset < offset]",
        "if info.name.first_offset <= offset]",
        (INGEST + "test_delivery.py",),
    ),
    Mutant(
        "an-error-for-each-who-waits-for-the-disk",
        "services/ingest/treering_ingest/committer.py",
        "        return self.kind(self.problem)\n",
        "        return _ONE.setdefault(self.problem, self.kind(self.problem))\n\n\n_ONE: dict[str, Exception] = {}\n",
        (INGEST + "test_committer.py::test_each_who_waits_gets_an_error_of_its_own",),
    ),
    Mutant(
        "no-frames-in-a-refusal",
        "services/ingest/treering_ingest/intake.py",
        "            del refusal  # or",
        "            pass  # or",
        (INGEST + "test_refusals.py::test_refused_uploads_do_not_grow_the_service",),
    ),
    Mutant(
        "a-file-is-closed-by-the-thread-that-reads-it",
        "services/ingest/treering_ingest/log_reader.py",
        "        self._thread.submit(self._cursor.close)",
        "        self._cursor.close()",
        (INGEST + "test_interrupted_reads.py",),
    ),
    Mutant(
        "digests-have-a-thread-of-their-own",
        "services/ingest/treering_ingest/digest.py",
        "run_in_executor(self._thread, self._digest,",
        "run_in_executor(None, self._digest,",
        (INGEST + "test_delivery.py::test_digests_that_wait_for_their_turn_hold_up_no_delivery",),
    ),
    Mutant(
        "a-note-is-not-closed-under-its-sync",
        "services/ingest/treering_ingest/delivered.py",
        "            fdatasync(descriptor)\n",
        "            fdatasync(self._descriptor)\n",
        (INGEST + "test_delivery.py::test_a_note_that_is_closed_while_it_is_synced_is_not_closed_under_the_sync",),
    ),
    Mutant(
        "waiters-in-the-order-of-tickets",
        "services/ingest/treering_ingest/committer.py",
        "bisect.insort(self._waiters, _Waiter(ticket, future, time.monotonic()), key=_ticket)",
        "self._waiters.append(_Waiter(ticket, future, time.monotonic()))",
        (INGEST + "test_committer.py::test_one_who_waits_for_less_does_not_wait_for_one_who_came_before",),
    ),
    Mutant(
        "digest-of-every-entry-that-came",
        "services/ingest/treering_ingest/raw_records.py",
        "        entry.options.map_entry = False\n",
        "        del entry\n",
        ("tests/query/test_digest.py::test_store_and_log_agree_where_a_map_has_forgotten_what_came",),
    ),
    Mutant(
        "the-others-stay-as-they-came",
        "services/ingest/treering_ingest/admission.py",
        "payload = _leave_out(received, rejections)",
        "payload = UploadLogsRequest.FromString(_leave_out(received, rejections)).SerializeToString()",
        (INGEST + "test_admission.py",),
    ),
    Mutant(
        "streams-are-shared-between-callers",
        "services/ingest/treering_ingest/intake.py",
        "if self._streams[callers.current()] >= share:",
        "if False:",
        ("tests/ingest/test_service.py::test_one_caller_has_half_of_the_streams_and_others_begin_beside_it",),
    ),
    Mutant(
        "batches-are-counted-before-they-are-unfolded",
        "services/ingest/treering_ingest/admission.py",
        "            _LIMITS.check_wire(received, UploadLogsRequest.DESCRIPTOR)\n",
        "            received = bytes(received)\n",
        ("tests/ingest/test_admission.py",),
    ),
    Mutant(
        "a-batch-has-a-largest-number-of-records",
        "services/ingest/treering_ingest/admission.py",
        '    RECORDS.check_count("records", len(request.records))\n',
        "",
        ("tests/ingest/test_admission.py",),
    ),
    Mutant(
        "no-offset-is-given-out-while-a-sink-is-ahead",
        "services/ingest/treering_ingest/intake.py",
        "if ahead := self._sink_ahead():",
        "if (ahead := self._sink_ahead()) and False:",
        (INGEST + "test_delivery.py",),
    ),
    Mutant(
        "without-a-descriptor-the-log-waits",
        "services/ingest/treering_ingest/wal/log.py",
        "errno.EDQUOT, errno.EMFILE, errno.ENFILE)",
        "errno.EDQUOT)",
        ("tests/ingest/test_log.py",),
    ),
)
