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
        "                self._sending(sent)\n",
        "",
        (INGEST + "test_delivery.py",),
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
)
