"""The file of holes has two writers, in two processes: neither takes back what the other one wrote."""

import threading
from pathlib import Path

import pytest
from filelock import FileLock

from treering_runtime import holes as holes_module
from treering_runtime.data_dir import write_atomically
from treering_runtime.errors import ServiceError, StartError
from treering_runtime.holes import Hole, Holes, add_hole, read_holes

LOG = 0xA1
ONE, TWO = Hole(LOG, 0, 10), Hole(LOG, 20, 30)


def test_a_hole_that_is_made_while_another_is_marked_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_hole(tmp_path, ONE)
    command = threading.Thread(target=add_hole, args=(tmp_path, TWO))

    def written(file: Path, content: bytes) -> None:
        if command.ident is None:
            command.start()
            # Without a lock it ends here, and is overwritten below.
            command.join(0.2)
        write_atomically(file, content)

    monkeypatch.setattr(holes_module, "write_atomically", written)
    holes = Holes(tmp_path)
    assert holes.go_behind(ONE)
    command.join()
    assert read_holes(tmp_path) == [ONE, TWO]
    assert Holes(tmp_path).gone_behind == [ONE]
    assert Holes(tmp_path).go_behind(TWO)


def test_a_mark_that_is_made_while_a_hole_is_made_stays(tmp_path: Path) -> None:
    for hole in (ONE, TWO):
        add_hole(tmp_path, hole)
    holes = Holes(tmp_path)
    # What it has read is old by now.
    assert Holes(tmp_path).go_behind(TWO)
    assert holes.go_behind(ONE)
    add_hole(tmp_path, Hole(LOG, 40, 50))
    add_hole(tmp_path, ONE)
    assert Holes(tmp_path).gone_behind == [ONE, TWO]


def test_a_sink_does_not_wait_for_the_other_writer_and_a_command_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holes_module, "_COMMAND_WAITS_S", 0.0)
    add_hole(tmp_path, ONE)
    holes = Holes(tmp_path)
    with FileLock(tmp_path / "holes.lock"):
        with pytest.raises(ServiceError, match="is being written by another process; the delivery is tried again"):
            holes.go_behind(ONE)
        with pytest.raises(StartError, match="is being written by another process; end that one or try again"):
            add_hole(tmp_path, TWO)
    assert holes.gone_behind == []
    assert holes.go_behind(ONE)
    add_hole(tmp_path, TWO)
