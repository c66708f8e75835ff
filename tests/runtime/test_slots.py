import os
import struct
from pathlib import Path

import pytest

from treering_runtime.slots import Slots

LAYOUT = struct.Struct("<QQ")


def test_what_was_written_is_there_in_the_next_process(tmp_path: Path) -> None:
    slots = Slots(tmp_path / "notes", LAYOUT, 4)
    assert slots.load() == [None] * 4
    slots.write(0, [(1, 2), None, (2**64 - 1, 0), None])
    slots.write(1, [(3, 4)])
    assert Slots(tmp_path / "notes", LAYOUT, 4).load() == [(1, 2), (3, 4), (2**64 - 1, 0), None]  # the first one was never closed


def test_a_slot_that_is_damaged_is_empty_and_the_others_are_not(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    Slots(path, LAYOUT, 3).write(0, [(1, 2), (3, 4), (5, 6)])
    raw = bytearray(path.read_bytes())
    raw[21] ^= 1
    path.write_bytes(raw)
    assert Slots(path, LAYOUT, 3).load() == [(1, 2), None, (5, 6)]
    os.truncate(path, 50)
    assert Slots(path, LAYOUT, 3).load() == [(1, 2), None, None]


def test_a_file_that_was_closed_touches_no_other_file(tmp_path: Path) -> None:
    slots = Slots(tmp_path / "notes", LAYOUT, 1)
    slots.close()
    other = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT)
    try:
        slots.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            slots.write(0, [(1, 2)])
        assert os.fstat(other).st_size == 0
    finally:
        os.close(other)
