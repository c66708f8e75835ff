import asyncio

import pytest

from tests.settling import settled
from treering.v1.error_pb2 import ErrorReason
from treering.v1.log_pb2 import Position
from treering_runtime.errors import ServiceError
from treering_runtime.progress import Progress, ProgressBoard


async def test_an_unknown_log_stands_at_zero() -> None:
    board = ProgressBoard()
    assert board.get(5) == Progress()
    assert board.seen() == []


def test_updates_change_only_what_they_name() -> None:
    board = ProgressBoard()
    board.update(5, next_offset=10)
    board.update(5, visible_end=7)
    assert board.get(5) == Progress(next_offset=10, visible_end=7)
    assert board.seen() == [Position(log_id=5, offset=7)]


async def test_waiting_returns_at_once_for_what_is_visible() -> None:
    board = ProgressBoard()
    board.update(5, visible_end=7)
    await board.wait_visible([Position(log_id=5, offset=7), Position(log_id=9, offset=0)], timeout_s=0)


async def test_waiting_ends_when_the_last_position_is_visible() -> None:
    board = ProgressBoard()
    waiting = asyncio.create_task(board.wait_visible([Position(log_id=1, offset=3), Position(log_id=2, offset=4)], timeout_s=None))
    await settled()
    board.update(1, visible_end=3)
    board.update(2, visible_end=3)
    await settled()
    assert not waiting.done()
    board.update(2, visible_end=4)
    await settled()
    assert waiting.done()
    await waiting


async def test_waiting_in_vain_says_what_is_missing() -> None:
    board = ProgressBoard()
    board.update(0xAB, visible_end=7)
    with pytest.raises(ServiceError, match="offset 9 of log 171 was not visible in time, 7 was") as caught:
        await board.wait_visible([Position(log_id=0xAB, offset=9)], timeout_s=0)
    assert caught.value.reason == ErrorReason.ERROR_REASON_TIMED_OUT
    assert caught.value.metadata == {"waiting_for": "9"}


async def test_many_waiters_wake_at_their_own_positions() -> None:
    board = ProgressBoard()
    waiters = [asyncio.create_task(board.wait_visible([Position(log_id=1, offset=n)], timeout_s=None)) for n in range(1, 51)]
    await settled()
    board.update(1, visible_end=25)
    await settled()
    assert [waiter.done() for waiter in waiters] == [True] * 25 + [False] * 25
    board.update(1, visible_end=50)
    await settled()
    assert all(waiter.done() for waiter in waiters)
    await asyncio.gather(*waiters)


async def test_wait_change_returns_for_a_version_that_is_past() -> None:
    board = ProgressBoard()
    version = board.version
    board.update(1, next_offset=1)
    assert await board.wait_change(version, timeout_s=60) == board.version


async def test_wait_change_gives_up_quietly() -> None:
    board = ProgressBoard()
    assert await board.wait_change(board.version, timeout_s=0) == board.version


async def test_a_cancelled_waiter_leaves_the_board_usable() -> None:
    board = ProgressBoard()
    waiting = asyncio.create_task(board.wait_visible([Position(log_id=1, offset=1)], timeout_s=None))
    await settled()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    board.update(1, visible_end=1)
    await board.wait_visible([Position(log_id=1, offset=1)], timeout_s=0)


async def test_a_change_looks_at_no_waiter_that_it_does_not_wake() -> None:
    board, looked = ProgressBoard(), []
    found = board._missing
    board._missing = lambda positions: looked.append(len(positions)) or found(positions)
    far = [Position(log_id=1, offset=2**63)]
    waiters = [asyncio.create_task(board.wait_visible(far, timeout_s=None)) for _ in range(1_000)]
    await settled()
    looked.clear()
    near = asyncio.create_task(board.wait_visible([Position(log_id=1, offset=9)], timeout_s=None))
    for offset in range(1, 10):
        board.update(1, visible_end=offset)
        await settled()
    await near
    assert len(looked) <= 3
    for waiter in waiters:
        waiter.cancel()
    await asyncio.gather(*waiters, return_exceptions=True)


async def test_waiters_who_gave_up_are_forgotten() -> None:
    board = ProgressBoard()
    stays = asyncio.create_task(board.wait_visible([Position(log_id=1, offset=5)], timeout_s=None))
    await settled()
    for _ in range(100):
        gone = asyncio.create_task(board.wait_visible([Position(log_id=1, offset=7)], timeout_s=None))
        await settled()
        gone.cancel()
        await settled()
    assert len(board._waiting[1]._heap) <= 3
    board.update(1, visible_end=5)
    await stays
    assert 1 not in board._waiting


async def test_a_waiter_that_is_cancelled_when_it_is_reached_hides_no_other() -> None:
    board = ProgressBoard()
    waiters = [asyncio.create_task(board.wait_visible([Position(log_id=1, offset=5)], timeout_s=None)) for _ in range(3)]
    await settled()
    waiters[0].cancel()
    board.update(1, visible_end=5)
    waiters[1].cancel()
    await waiters[2]
    await asyncio.gather(*waiters, return_exceptions=True)
    assert not board._waiting
