"""Safeguards of the write-ahead log."""

from safeguards.mutant import Mutant

WAL = "services/ingest/treering_ingest/wal/"
INGEST = "tests/ingest/"

MUTANTS = (
    Mutant(
        "data-fsync",
        WAL + "log.py",
        "            file.sync()\n        except OSError as error:\n            raise self._fail(error) from error",
        "            pass\n        except OSError as error:\n            raise self._fail(error) from error",
        (INGEST + "test_power_cut.py",),
    ),
    Mutant(
        "data-fsync-of-the-real-file",
        WAL + "filesystem.py",
        "        fdatasync(self._descriptor)",
        "        pass",
        (INGEST + "test_power_cut.py::test_a_sync_of_a_file_is_one_of_the_system",),
    ),
    Mutant(
        "directory-fsync-of-a-segment",
        WAL + "log.py",
        "            self.files.rename(temporary, name)\n            self.files.sync_directory()\n",
        "            self.files.rename(temporary, name)\n",
        (INGEST + "test_power_cut.py",),
    ),
    Mutant(
        "directory-fsync-of-the-manifest",
        WAL + "manifest.py",
        "deletes segments only after this line.\n    files.sync_directory()\n",
        "deletes segments only after this line.\n",
        (INGEST + "test_power_cut.py",),
    ),
    Mutant(
        "fsync-before-the-footer",
        WAL + "log.py",
        "        self._sync_frames(active)  # a footer",
        "        # a footer",
        (INGEST + "test_power_cut.py",),
    ),
    Mutant(
        "rewrite-after-a-failed-fsync",
        WAL + "recovery.py",
        "    files.rewrite(name.file, durable)",
        "    files.rewrite(name.file, size)",
        (INGEST + "test_power_cut.py",),
    ),
    Mutant("chain-check", WAL + "frame.py", "if header.previous_crc != link.crc:", "if False:", (INGEST + "test_frames.py",)),
    Mutant(
        "header-crc-check",
        WAL + "frame.py",
        "if _EXTEND(seed, buffer[at:covered_end]) != crc:",
        "if False:",
        (INGEST + "test_frames.py",),
    ),
    Mutant(
        "damage-is-cut-as-if-torn",
        WAL + "recovery.py",
        "if proof := proof_of_damage(reader, bad, size):",
        "if proof := None:",
        (INGEST + "test_recovery.py::test_damage_is_named_with_file_position_and_remedy",),
    ),
    Mutant(
        "delivery-of-what-is-not-synced",
        WAL + "reader.py",
        "synced.position if newest else self._frames_end",
        "reader.file.size() if newest else self._frames_end",
        (INGEST + "test_log.py::test_nothing_unsynced_is_read",),
    ),
    Mutant(
        "a-deletion-that-failed-is-given-up",
        WAL + "log.py",
        "        write_manifest(self.files, manifest)\n",
        "        self._manifest = manifest\n        write_manifest(self.files, manifest)\n",
        (INGEST + "test_log.py::test_a_deletion_that_there_was_no_room_for_is_given_up_for_good",),
    ),
    Mutant(
        "a-frame-of-a-newer-version-is-cut-as-if-torn",
        WAL + "segment.py",
        '        return "a newer version wrote it"\n',
        "        return None\n",
        (INGEST + "test_former_log.py::test_payloads_of_a_version_to_come_are_refused_and_not_cut",),
    ),
)
