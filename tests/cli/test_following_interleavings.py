"""Between any two steps of a log, of what rotates it, and of what follows it anything else may happen: each record is stored once."""

import gzip
import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.cli.following import Bench, Killed, MemoryIngest
from tests.cli.growing_log import GrowingLog

LONG_ENOUGH = 80
"""Turns, a second apart: also what waits for its writer to let go of it."""

ROTATIONS = ("rename", "rename and pack", "copy", "copy and pack")


class World:
    """A log, its follower and their ingest."""

    def __init__(self, directory: Path, seed: int = 0) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.log = GrowingLog(directory / "app.log", random.Random(seed))
        self.ingest = MemoryIngest()
        self.bench = Bench(directory.parent / "state", self.ingest, self.log.path)

    def step(self, name: str) -> None:
        try:
            self._step(name)
        except Killed:
            self.bench.kill()

    def _step(self, name: str) -> None:
        bench = self.bench
        if name.startswith("turn while "):
            self.ingest.meanwhile = lambda: (self.log.grow(), self.step(name.removeprefix("turn while ")), self.log.grow())
            self.step("turn")
            self.ingest.meanwhile = None
        elif name in ("grow", "grow a little"):
            self.log.grow(60 if name == "grow" else 2)
        elif name in ROTATIONS:
            self.log.rotate(copy=name.startswith("copy"), pack=name.endswith("pack"))
        elif name == "pack":
            self.log.pack(2)
        elif name == "kill":
            bench.kill()
        elif name == "start" and bench.follower is None:
            bench.begin()
        elif name in ("turn", "look", "killed") and bench.follower is not None:
            self.ingest.faults = [random.Random(len(self.log.written)).choice(("before", "after"))] if name == "killed" else []
            # A look is only its first part: what comes between two of them waits for lines that might join it.
            bench.clock.now += 0.5 if name == "look" else 1.0
            bench.follower.turn()
            self.ingest.faults = []

    def end(self) -> tuple[Counter[str], Counter[str]]:
        if self.bench.follower is None:
            self.bench.begin()
        self.log.grow()
        self.bench.turns(LONG_ENOUGH)
        self.bench.kill()
        return Counter(self.log.written) - Counter(self.ingest.messages), Counter(self.ingest.messages) - Counter(self.log.written)


def begun(directory: Path) -> World:
    """What was rotated away before it has begun, nobody asked for."""
    world = World(directory / "logs")
    world.log.grow()
    world.bench.begin().turns()
    return world


def rotated(world: World, rotation: str) -> None:
    world.log.grow()
    world.step(rotation)
    world.log.grow()


@pytest.mark.parametrize("state", ["running", "down", "killed", "away"])
@pytest.mark.parametrize("rotation", ROTATIONS)
@pytest.mark.parametrize("count", range(5))
def test_rotations_between_two_looks_lose_and_double_nothing(tmp_path: Path, state: str, rotation: str, count: int) -> None:
    world = begun(tmp_path)
    world.log.grow()
    if state == "away":
        # One that is seen: what was seen to come after it is looked for while the others happen.
        world.step(rotation)
        world.log.grow(30)
    if state == "down":
        world.step("kill")
    if state == "killed":
        world.step("killed")

    def rotations() -> None:
        for _ in range(count):
            world.log.grow(30)
            world.step(rotation)
        world.log.grow(30)

    if state == "away":
        world.ingest.meanwhile = rotations
        world.step("turn")
    else:
        rotations()
    world.step("start")
    world.step("look")
    if state != "away":  # which a new start would set right
        # What was seen in one look, and not read to its end, is found by the next process too.
        world.step("killed")
        world.step("start")
    assert world.end() == (Counter(), Counter())


@pytest.mark.parametrize("moment", ["stat", "open", "read", "list"])
@pytest.mark.parametrize("rotation", ROTATIONS)
def test_a_rotation_within_a_look_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rotation: str, moment: str
) -> None:
    """Whichever file operation of a look it comes before."""
    for number in range(0, 240, 5) if moment == "read" else range(40):
        world = begun(tmp_path / str(number))
        world.log.grow()
        world.step(rotation)
        world.log.grow()
        with interrupted(monkeypatch, moment, number, partial(rotated, world, rotation)) as left:
            for _ in range(3):
                world.step("turn")
        assert world.end() == (Counter(), Counter()), number
        if left():
            return
    pytest.fail("a look has more steps than were tried")


@contextmanager
def interrupted(monkeypatch: pytest.MonkeyPatch, kind: str, number: int, action: Callable[[], object]) -> Iterator[Callable[[], bool]]:
    """Does something before the operation of that number of a kind; tells whether there have been fewer."""
    place, name = {
        "stat": ("treering_cli.following.content.os", "fstat"),
        "open": ("treering_cli.following.content.os", "open"),
        "read": ("treering_cli.following.content.os", "pread"),
        "list": ("treering_cli.following.parts.os", "scandir"),
    }[kind]
    original, left = getattr(os, name), number

    def first_act(*arguments: Any, **named: Any) -> Any:
        nonlocal left
        left -= 1
        if left == -1:
            action()
        return original(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(f"{place}.{name}", first_act)
        yield lambda: left >= 0


def test_what_was_rotated_away_before_its_first_batch_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the log of which nothing was stored when the follower was killed."""
    world = World(tmp_path / "logs")
    world.bench.begin().turns(1)
    world.step("kill")
    for rotation in ROTATIONS:
        world.log.grow()
        world.step(rotation)
    monkeypatch.setattr("treering_cli.following.files._now", lambda: time.time() + 60)
    world.bench.begin()
    assert world.end() == (Counter(), Counter())


@pytest.mark.parametrize("moment", ["stat", "read"])
def test_a_copy_that_was_passed_over_has_the_rest_of_what_is_truncated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    for number in range(25):
        world = begun(tmp_path / str(number))
        world.log.grow(60, least=30)
        log = world.log.path
        shutil.copy2(log, log.with_name("app.log.1"))
        with interrupted(monkeypatch, moment, number, partial(os.truncate, log, 0)):
            world.step("turn")
        assert world.end() == (Counter(), Counter()), number


def test_a_truncated_file_of_which_only_a_held_record_was_read_has_its_rest_in_the_copy(tmp_path: Path) -> None:
    world = World(tmp_path / "logs")
    world.bench.begin().turns(1)
    world.log.grow(2, least=1)
    world.step("look")
    assert world.ingest.messages == []
    world.log.grow(60, least=30)
    world.step("copy")
    assert world.end() == (Counter(), Counter())


def test_a_copy_in_the_making_is_not_read_as_another_file(tmp_path: Path) -> None:
    world = begun(tmp_path)
    text = world.log.path.read_bytes()
    copy = world.log.path.with_name("app.log.1")
    for size in (0, 1, 30, 500, 1500, len(text)):
        copy.write_bytes(text[:size])
        world.bench.turns(2)
    assert world.end() == (Counter(), Counter())


def test_a_packed_part_is_not_read_before_it_can_be_told_what_it_is(tmp_path: Path) -> None:
    world = begun(tmp_path)
    text = gzip.compress(world.log.path.read_bytes())
    packed = world.log.path.with_name("app.log.1.gz")
    for size in (0, 1, 2, 5, 40, len(text)):
        packed.write_bytes(text[:size])
        world.bench.turns(8)
    assert world.end() == (Counter(), Counter())


def test_a_file_that_may_be_read_later_is_read_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path / "logs")
    world.log.grow(60, least=1)
    world.log.path.chmod(0)
    with monkeypatch.context() as patch:
        patch.setattr("treering_cli.following.files.Content", refused)
        world.bench.begin().turns(2)
    world.log.path.chmod(0o644)
    assert world.end() == (Counter(), Counter())


def refused(path: Any) -> Any:
    raise PermissionError(13, "Permission denied", path)


NAMES = ["grow", "grow", "grow a little", *ROTATIONS, "pack", "turn", "turn", "look", "killed", "kill", "start", "start"]
STEPS = st.lists(st.sampled_from([*NAMES, *(f"turn while {each}" for each in ROTATIONS)]), max_size=40)


@settings(
    max_examples=int(os.environ.get("TREERING_FOLLOW_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS)
@example(steps=["grow", "copy", "look", "kill", "start", "grow", "copy", "grow", "rename", "look", "kill"])
def test_whatever_happens_each_record_is_stored_once(tmp_path_factory: pytest.TempPathFactory, steps: list[str]) -> None:
    world = begun(tmp_path_factory.mktemp("world"))
    for each in steps:
        world.step(each)
    assert world.end() == (Counter(), Counter())
    assert not [words for words in world.bench.said if "twice" in words or "cannot be read" in words]
