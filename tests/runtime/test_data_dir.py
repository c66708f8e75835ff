import errno
import json
import os
import stat
import subprocess
import sys

import pytest

from treering_runtime.data_dir import DataDir, write_atomically
from treering_runtime.errors import StartError

HOLD = """
import sys
from pathlib import Path
from treering_runtime.data_dir import DataDir
directory = DataDir(Path(sys.argv[1]), "sample", 1)
print("held", flush=True)
sys.stdin.read()
"""


def test_it_is_created_privately_and_stamped(tmp_path):
    directory = DataDir(tmp_path / "a" / "b", "sample", 3)
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    assert json.loads((tmp_path / "a/b/FORMAT").read_text()) == {"kind": "sample", "version": 3}
    assert directory.version == 3
    directory.close()


def test_an_older_format_is_opened_and_named(tmp_path):
    DataDir(tmp_path / "d", "sample", 1).close()
    directory = DataDir(tmp_path / "d", "sample", 2)
    assert directory.version == 1
    directory.close()


def test_a_newer_format_is_refused(tmp_path):
    DataDir(tmp_path / "d", "sample", 2).close()
    with pytest.raises(StartError, match="has format 2, this program knows up to 1; use a newer Treering"):
        DataDir(tmp_path / "d", "sample", 1)


def test_another_kind_is_refused(tmp_path):
    DataDir(tmp_path / "d", "sample", 1).close()
    with pytest.raises(StartError, match="holds sample, not other"):
        DataDir(tmp_path / "d", "other", 1)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"kind": "sample"}', '{"kind": "sample", "version": "x"}', "\udcff"])
def test_a_damaged_stamp_is_refused(tmp_path, content):
    DataDir(tmp_path / "d", "sample", 1).close()
    (tmp_path / "d/FORMAT").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(StartError, match="FORMAT is damaged"):
        DataDir(tmp_path / "d", "sample", 1)


def test_a_refused_directory_is_unlocked_again(tmp_path):
    DataDir(tmp_path / "d", "sample", 2).close()
    with pytest.raises(StartError):
        DataDir(tmp_path / "d", "sample", 1)
    DataDir(tmp_path / "d", "sample", 2).close()


def test_a_second_opening_is_refused(tmp_path):
    first = DataDir(tmp_path / "d", "sample", 1)
    with pytest.raises(StartError, match="is in use by another process"):
        DataDir(tmp_path / "d", "sample", 1)
    first.close()
    DataDir(tmp_path / "d", "sample", 1).close()


def test_another_process_holds_it_until_it_dies(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "d")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StartError, match="is in use by another process"):
            DataDir(tmp_path / "d", "sample", 1)
        holder.kill()
    DataDir(tmp_path / "d", "sample", 1).close()


def test_a_file_in_its_place_is_refused(tmp_path):
    (tmp_path / "d").write_text("a file")
    with pytest.raises(StartError, match="cannot be used"):
        DataDir(tmp_path / "d", "sample", 1)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_directory_without_permission_is_refused(tmp_path):
    (tmp_path / "d").mkdir(mode=0o500)
    with pytest.raises(StartError, match="check that this user owns it"):
        DataDir(tmp_path / "d", "sample", 1)


SHORT = """
import resource, signal, sys
from pathlib import Path
from treering_runtime.data_dir import write_atomically
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
try:
    write_atomically(Path(sys.argv[1]), b"new" * 10)
except OSError as error:
    print(error.errno)
"""


def test_a_write_that_takes_a_part_only_does_not_replace_the_file(tmp_path):
    """As on a disk that is full: the first write takes ten bytes, the next one none."""
    file = tmp_path / "f"
    file.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", SHORT, str(file)], capture_output=True, text=True, check=True)
    assert (done.stdout, file.read_bytes()) == (f"{errno.EFBIG}\n", b"old")


def test_writing_atomically_replaces_and_leaves_nothing_beside(tmp_path):
    file = tmp_path / "f"
    for content in (b"one", b"", b"three" * 100_000):
        write_atomically(file, content)
        assert file.read_bytes() == content
    assert list(tmp_path.iterdir()) == [file]
