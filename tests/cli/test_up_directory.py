"""`treering up` in a directory where others may write: what they laid there is neither written through nor believed."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.privileges import needs_root
from treering_cli.instance import Instance, InstanceLock, running_instance
from treering_cli.problems import Refusal
from treering_cli.supervisor.log_file import LogFile
from treering_cli.supervisor.stack import SERVICES, Options, Stack

HERE = Instance(1, True, "a:1", "b:1", "c:1")


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    directory = tmp_path / "shared"
    directory.mkdir()
    directory.chmod(0o777)
    return directory


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """A file elsewhere that is not to be touched."""
    file = tmp_path / "victim"
    file.write_text("untouched")
    yield file
    assert file.read_text() == "untouched"


@pytest.fixture
def lock(shared: Path) -> Iterator[InstanceLock]:
    held = InstanceLock(shared)
    yield held
    held.release()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def stack(directory: Path) -> Stack:
    made = Stack(Options(directory, dict.fromkeys(SERVICES, 0)), print)
    for log in made._logs.values():
        log.close()
    return made


def test_the_place_of_the_services_is_written_privately_and_not_through_a_link(shared: Path, lock: InstanceLock, victim: Path) -> None:
    (shared / "up.tmp").symlink_to(victim)
    lock.publish(HERE)
    assert (running_instance(shared), mode(shared / "up.json"), mode(shared / "up.lock")) == (HERE, 0o600, 0o600)


def test_what_a_killed_up_left_half_written_is_written_anew(shared: Path, lock: InstanceLock) -> None:
    (shared / "up.tmp").write_text("{")
    lock.publish(HERE)
    assert running_instance(shared) == HERE


def test_a_link_in_the_place_of_the_lock_is_refused(shared: Path, victim: Path) -> None:
    (shared / "up.lock").symlink_to(victim)
    with pytest.raises(Refusal, match=r"shared/up.lock is a link, or belongs to somebody else; look who put it there"):
        InstanceLock(shared)


def test_a_link_in_the_place_of_the_answers_is_not_believed(shared: Path, lock: InstanceLock, tmp_path: Path) -> None:
    (tmp_path / "forged").write_text(json.dumps({"pid": 1, "ready": True, "ingest": "evil:1", "embed": "evil:1", "query": "evil:1"}))
    (shared / "up.json").symlink_to(tmp_path / "forged")
    with pytest.raises(Refusal, match=r"shared/up.json is a link"):
        running_instance(shared)


def test_a_directory_that_cannot_be_written_is_refused_in_words(shared: Path, lock: InstanceLock) -> None:
    (shared / "up.tmp").mkdir()
    with pytest.raises(Refusal, match=r"shared cannot be used: .*; give a directory that you may write: --data-dir DIR"):
        lock.publish(HERE)


def test_a_log_is_private_and_not_written_through_a_link(shared: Path, victim: Path) -> None:
    log = LogFile(shared / "logs" / "query.log", verbose=False)
    log.close()
    assert (mode(shared / "logs"), mode(log.path)) == (0o700, 0o600)
    log.path.unlink()
    log.path.symlink_to(victim)
    with pytest.raises(Refusal, match=r"logs/query.log is a link"):
        LogFile(log.path, verbose=False)


@pytest.mark.parametrize("name", ["logs", *SERVICES])
@pytest.mark.parametrize("root_mode", [0o777, 0o700])
def test_a_directory_of_ours_that_is_a_link_is_refused(shared: Path, tmp_path: Path, name: str, root_mode: int) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    shared.chmod(root_mode)
    (shared / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refusal, match=rf"shared/{name} is not a directory of ours: it is a link, or .* --data-dir DIR"):
        stack(shared)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_directory_of_ours_that_others_may_write_is_refused(shared: Path) -> None:
    (shared / "ingest").mkdir()
    (shared / "ingest").chmod(0o770)
    with pytest.raises(Refusal, match=r"shared/ingest is not a directory of ours"):
        stack(shared)


def test_where_others_may_write_each_service_looks_at_its_own_directory_itself(shared: Path) -> None:
    made = stack(shared)
    assert [made.settings[name][f"TREERING_{name.upper()}_DATA_DIR"] for name in SERVICES] == [str(shared)] * 3
    assert [mode(shared / name) for name in SERVICES] == [0o700] * 3


def test_the_directory_that_is_named_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "data").symlink_to(tmp_path / "real")
    held = InstanceLock(tmp_path / "data")
    held.publish(HERE)
    assert running_instance(tmp_path / "real") == HERE
    held.release()
    stack(tmp_path / "data")
    assert sorted(path.name for path in (tmp_path / "real").iterdir()) == ["embed", "ingest", "logs", "query", "up.lock"]


class TestOtherOwners:
    pytestmark = needs_root

    def test_answers_of_somebody_else_are_not_believed(self, shared: Path, lock: InstanceLock) -> None:
        lock.publish(HERE)
        os.chown(shared / "up.json", 12_345, 12_345)
        with pytest.raises(Refusal, match=r"shared/up.json is a link, or belongs to somebody else"):
            running_instance(shared)

    @pytest.mark.parametrize("name", ["logs", *SERVICES])
    def test_a_directory_that_somebody_else_made_is_refused(self, shared: Path, name: str) -> None:
        (shared / name).mkdir(mode=0o700)
        os.chown(shared / name, 12_345, 12_345)
        with pytest.raises(Refusal, match=rf"shared/{name} is not a directory of ours"):
            stack(shared)
