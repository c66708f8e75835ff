"""Takes one safeguard away at a time, in a copy of the tree, and expects a test to notice.

python tools/mutants.py            all of them
python tools/mutants.py NAME...    some; `--list` names them

A mutant is one small edit. Its tests pass without it (that is checked first) and must fail with it. An edit whose place is gone from the
source is an error, so that a mutant cannot fade away silently.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("sdk", "services", "tests", "docs", "protos", "pyproject.toml")
PATHS = ("sdk", "services/runtime", "services/ingest", "services/embed", "services/query")
PATIENCE_S = 300

WAL = "services/ingest/treering_ingest/wal/"
INGEST = "tests/ingest/"


@dataclass(frozen=True)
class Mutant:
    """One edit.

    Args:
        name: What is taken away.
        file: Where.
        anchor: The text that is replaced; stands exactly once in the file.
        replacement: What stands there then.
        tests: What must notice.
    """

    name: str
    file: str
    anchor: str
    replacement: str
    tests: tuple[str, ...]


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
        "        _sync_data(self._descriptor)",
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
        "    files.rename(temporary, MANIFEST)\n    files.sync_directory()\n",
        "    files.rename(temporary, MANIFEST)\n",
        (INGEST + "test_power_cut.py",),
    ),
    Mutant(
        "directory-fsync-of-the-data-directory",
        "services/runtime/treering_runtime/data_dir.py",
        "    path.mkdir(mode=0o700, exist_ok=True)\n    sync_directory(path.parent)\n",
        "    path.mkdir(mode=0o700, exist_ok=True)\n",
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
        "flush-before-indexed",
        "services/embed/treering_embed/filling.py",
        "        await self._on_index(self._engine.index.flush)\n",
        "",
        ("tests/embed/test_indexer.py",),
    ),
)


def copied() -> Path:
    """A copy of what the tests need."""
    target = Path(tempfile.mkdtemp(prefix="mutants-"))
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target / name)
    return target


def run_tests(tree: Path, tests: tuple[str, ...]) -> tuple[int, str]:
    """The exit code of pytest in a tree (1 = a test failed), and the end of what it said."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(str(tree / path) for path in PATHS),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HUB_OFFLINE": "1",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider", *tests]
    ended = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    return ended.returncode, "\n".join((ended.stdout + ended.stderr).splitlines()[-15:])


def applied(tree: Path, mutant: Mutant) -> str:
    """Makes the edit and returns the text before it.

    Raises:
        LookupError: Its place is gone, or is there more than once.
    """
    path = tree / mutant.file
    text = path.read_text()
    if text.count(mutant.anchor) != 1:
        raise LookupError(f"{mutant.name}: its text stands {text.count(mutant.anchor)} times in {mutant.file}; renew the mutant")
    path.write_text(text.replace(mutant.anchor, mutant.replacement))
    return text


def verdict(tree: Path, mutant: Mutant) -> str:
    """What became of a mutant: caught, SURVIVED, or what is wrong with it."""
    try:
        before = applied(tree, mutant)
    except LookupError as error:
        return f"ERROR {error}"
    try:
        code, said = run_tests(tree, mutant.tests)
    except subprocess.TimeoutExpired:
        return f"caught: its tests did not end within {PATIENCE_S} s"
    finally:
        (tree / mutant.file).write_text(before)
    if code == 1:
        failed = next((line.split(" - ")[0] for line in said.splitlines() if line.startswith("FAILED")), "a test failed")
        return f"caught by {failed.removeprefix('FAILED ')}"
    return "SURVIVED" if code == 0 else f"ERROR pytest ended with {code}:\n{said}"


def chosen() -> list[Mutant]:
    """The mutants that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(mutant.name for mutant in MUTANTS))
        sys.exit(0)
    unknown = set(arguments.names) - {mutant.name for mutant in MUTANTS}
    if unknown:
        parser.error(f"no such mutant: {', '.join(sorted(unknown))}")
    return [mutant for mutant in MUTANTS if not arguments.names or mutant.name in arguments.names]


def main() -> int:
    """Prints a table; the exit code is 1 unless every mutant was caught."""
    mutants, tree = chosen(), copied()
    try:
        code, said = run_tests(tree, tuple(dict.fromkeys(test for mutant in mutants for test in mutant.tests)))
        if code != 0:
            print(f"the tests do not pass before anything is taken away:\n{said}", file=sys.stderr)
            return 1
        caught = 0
        for mutant in mutants:
            started = time.monotonic()
            result = verdict(tree, mutant)
            caught += result.startswith("caught")
            print(f"{mutant.name:<38} {time.monotonic() - started:5.1f} s  {result}", flush=True)
        print(f"{caught} of {len(mutants)} caught")
        return 0 if caught == len(mutants) else 1
    finally:
        shutil.rmtree(tree)


if __name__ == "__main__":
    sys.exit(main())
