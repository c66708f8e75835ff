import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.privileges import needs_root
from treering_runtime.data_dir import DataDir, write_atomically
from treering_runtime.errors import DirectoryInUseError, StartError

HOLD = """
import sys
from pathlib import Path
from treering_runtime.data_dir import DataDir
directory = DataDir(Path(sys.argv[1]), "sample", 1)
print("held", flush=True)
sys.stdin.read()
"""


def test_it_is_created_privately_and_stamped(tmp_path: Path) -> None:
    directory = DataDir(tmp_path / "a" / "b", "sample", 3)
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    assert json.loads((tmp_path / "a/b/FORMAT").read_text()) == {"kind": "sample", "version": 3}
    assert directory.version == 3
    directory.close()


def test_an_older_format_is_opened_and_named(tmp_path: Path) -> None:
    DataDir(tmp_path / "d", "sample", 1).close()
    directory = DataDir(tmp_path / "d", "sample", 2)
    assert directory.version == 1
    directory.close()


def test_an_older_program_does_not_open_what_a_newer_one_had(tmp_path: Path) -> None:
    for version in (1, 2):
        DataDir(tmp_path / "d", "sample", version).close()
    with pytest.raises(StartError, match="has format 2, this program knows up to 1; use a newer Treering"):
        DataDir(tmp_path / "d", "sample", 1)
    assert json.loads((tmp_path / "d/FORMAT").read_text()) == {"kind": "sample", "version": 2}


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    DataDir(tmp_path / "d", "sample", 2).close()
    with pytest.raises(StartError, match="has format 2, this program knows up to 1; use a newer Treering"):
        DataDir(tmp_path / "d", "sample", 1)


def test_another_kind_is_refused(tmp_path: Path) -> None:
    DataDir(tmp_path / "d", "sample", 1).close()
    with pytest.raises(StartError, match="holds sample, not other"):
        DataDir(tmp_path / "d", "other", 1)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"kind": "sample"}', '{"kind": "sample", "version": "x"}', "\udcff"])
def test_a_damaged_stamp_is_refused(tmp_path: Path, content: str) -> None:
    DataDir(tmp_path / "d", "sample", 1).close()
    (tmp_path / "d/FORMAT").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(StartError, match="FORMAT is damaged"):
        DataDir(tmp_path / "d", "sample", 1)


def test_a_refused_directory_is_unlocked_again(tmp_path: Path) -> None:
    DataDir(tmp_path / "d", "sample", 2).close()
    with pytest.raises(StartError):
        DataDir(tmp_path / "d", "sample", 1)
    DataDir(tmp_path / "d", "sample", 2).close()


def test_a_second_opening_is_refused(tmp_path: Path) -> None:
    first = DataDir(tmp_path / "d", "sample", 1)
    with pytest.raises(DirectoryInUseError, match="is in use by another process"):
        DataDir(tmp_path / "d", "sample", 1)
    first.close()
    DataDir(tmp_path / "d", "sample", 1).close()


def test_another_process_holds_it_until_it_dies(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "d")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StartError, match="is in use by another process"):
            DataDir(tmp_path / "d", "sample", 1)
        holder.kill()
    DataDir(tmp_path / "d", "sample", 1).close()


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("a?b", "a path with \\? is not supported"),
        ("a\\b", "a path with \\\\ is not supported"),
        ("a\udcff", "holds bytes that are not UTF-8"),
        ("/".join(["x" * 200] * 3), "the limit is 487; use a shorter one"),
    ],
)
def test_a_path_that_a_database_cannot_open_is_refused_before_anything_is_made(tmp_path: Path, name: str, problem: str) -> None:
    with pytest.raises(StartError, match=problem):
        DataDir(tmp_path / "data" / name, "sample", 1)
    assert list(tmp_path.iterdir()) == []


def test_a_short_link_to_a_long_path_is_refused(tmp_path: Path) -> None:
    (tmp_path / "/".join(["x" * 200] * 3)).mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "/".join(["x" * 200] * 3))
    with pytest.raises(StartError, match="the limit is 487"):
        DataDir(tmp_path / "link", "sample", 1)


@pytest.mark.parametrize("name", ['it\'s "a"; b', "%41 #x", "a*b[0-9]{c}", "größe-日志", "a\nb", "-x", "~", "$HOME", "x" * 250])
def test_odd_names_are_directories_as_any_other(tmp_path: Path, name: str) -> None:
    DataDir(tmp_path / name, "sample", 1).close()
    assert (tmp_path / name / "FORMAT").exists()


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "d").write_text("a file")
    with pytest.raises(StartError, match="cannot be used"):
        DataDir(tmp_path / "d", "sample", 1)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_directory_without_permission_is_refused(tmp_path: Path) -> None:
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


def test_a_write_that_takes_a_part_only_does_not_replace_the_file(tmp_path: Path) -> None:
    """As on a disk that is full: the first write takes ten bytes, the next one none."""
    file = tmp_path / "f"
    file.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", SHORT, str(file)], capture_output=True, text=True, check=True)
    assert (done.stdout, file.read_bytes()) == (f"{errno.EFBIG}\n", b"old")


def test_writing_atomically_replaces_and_leaves_nothing_beside(tmp_path: Path) -> None:
    file = tmp_path / "f"
    for content in (b"one", b"", b"three" * 100_000):
        write_atomically(file, content)
        assert file.read_bytes() == content
    assert list(tmp_path.iterdir()) == [file]


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A directory that everybody may write, as a volume that is handed over, or a shared temporary directory."""
    directory = tmp_path / "every body's" / "shared"
    directory.mkdir(parents=True)
    directory.chmod(0o777)
    return directory


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A private directory of ours that is no business of the service."""
    directory = tmp_path / "elsewhere"
    directory.mkdir(mode=0o700)
    return directory


def opened(path: Path) -> Path:
    directory = DataDir(path, "treering-sample", 1)
    directory.close()
    return directory.path


def test_where_others_may_write_it_has_a_private_directory_of_its_own(shared: Path) -> None:
    assert opened(shared) == opened(shared) == shared / "sample"
    assert stat.S_IMODE((shared / "sample").stat().st_mode) == 0o700
    assert list(shared.iterdir()) == [shared / "sample"]


def test_the_directory_that_is_named_may_be_a_link(tmp_path: Path, shared: Path, elsewhere: Path) -> None:
    (tmp_path / "to-ours").symlink_to(elsewhere)
    (tmp_path / "to-shared").symlink_to(shared)
    assert opened(tmp_path / "to-ours").resolve() == elsewhere
    assert opened(tmp_path / "to-shared").resolve() == shared / "sample"


def test_its_own_directory_may_not_be_a_link(shared: Path, elsewhere: Path) -> None:
    (shared / "sample").symlink_to(elsewhere)
    with pytest.raises(StartError, match="shared/sample is a link, or others own it or may write there; look who put it there"):
        opened(shared)
    assert list(elsewhere.iterdir()) == []


def test_a_link_to_nowhere_is_refused_as_well(shared: Path, tmp_path: Path) -> None:
    (shared / "sample").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StartError, match="shared/sample is a link"):
        opened(shared)
    assert not (tmp_path / "nowhere").exists()


def test_its_own_directory_may_not_be_open_to_others(shared: Path) -> None:
    (shared / "sample").mkdir()
    (shared / "sample").chmod(0o770)
    with pytest.raises(StartError, match="shared/sample is a link, or others own it or may write there"):
        opened(shared)


def test_files_of_a_former_version_in_the_open_are_refused_with_the_commands_that_close_them(shared: Path) -> None:
    shared.chmod(0o700)
    opened(shared)
    (shared / "data").write_text("records")
    shared.chmod(0o777)
    with pytest.raises(StartError, match="it holds a service's files") as caught:
        opened(shared)
    close, move = str(caught.value).partition("of their own: ")[2].split("; or ")
    subprocess.run(["sh", "-c", move], check=True)
    assert (opened(shared) / "data").read_text() == "records"
    for file in list((shared / "sample").iterdir()):
        file.rename(shared / file.name)
    (shared / "sample").rmdir()
    shared.chmod(0o777)
    with pytest.raises(StartError, match="it holds a service's files"):
        opened(shared)
    subprocess.run(["sh", "-c", close], check=True)
    assert opened(shared) == shared


class TestOtherOwners:
    pytestmark = needs_root

    def test_files_of_somebody_elses_service_are_refused(self, shared: Path) -> None:
        (shared / "FORMAT").write_text("{}")
        os.chown(shared / "FORMAT", 12_345, 12_345)
        with pytest.raises(StartError, match="shared holds files of a service of user 12345; run the service as that user"):
            opened(shared)

    def test_where_somebody_else_owns_it_too(self, tmp_path: Path) -> None:
        (tmp_path / "theirs").mkdir(mode=0o755)
        os.chown(tmp_path / "theirs", 12_345, 12_345)
        assert opened(tmp_path / "theirs") == tmp_path / "theirs/sample"

    def test_its_own_directory_may_not_be_somebody_elses(self, shared: Path) -> None:
        (shared / "sample").mkdir(mode=0o700)
        os.chown(shared / "sample", 12_345, 12_345)
        with pytest.raises(StartError, match="shared/sample is a link, or others own it or may write there"):
            opened(shared)
