"""A limit for each test: one that hangs fails alone, with the stacks of all threads and asyncio tasks, and the run goes on.

A timer of the process sends SIGALRM to the main thread, where tests run. Waiting for a lock, a queue, a thread, a process or a socket is
interrupted by it, which no thread beside could do. An asyncio test that waits is cancelled first, so that it ends as after any
cancellation, before its fixtures do; everything else gets an exception where it stands. Whoever goes on gets the exception again, every
`GRACE_S`. Only what never comes back to Python (an endless loop in C) ends the run, by the watchdog of faulthandler.

The limit is for each phase (setup, call, teardown) by itself: what a fixture of the session needs is not taken from the first test.
`@pytest.mark.time_limit(seconds)` gives a test another one: ten times what it needs at rest.
"""

import asyncio
import contextlib
import faulthandler
import gc
import inspect
import os
import signal
import sys
import threading
import traceback
from collections.abc import Coroutine, Generator, Iterator
from types import FrameType
from typing import Any

import pytest

LIMIT_S = 120
"""The least limit, seconds: no test without another one takes more than a tenth of it at rest."""
HEAVY_LIMIT_S = 900
"""That of tests that start all the real processes or load the real model, seconds: up to 90 s at rest. What they wait for has limits of its
own, of a start or a command, which are reached first and say more."""
_HEAVY = ("system", "model")
GRACE_S = 60
"""How long a test that is over its limit may take to end, seconds, before it is interrupted again."""
_LAST_RESORT = 4
"""After so many graces the test can only be in C, and the run ends."""

_ENDED = pytest.StashKey[int]()
_OVER = pytest.StashKey[bool]()
_STDERR = pytest.StashKey[int]()


class TimeLimitError(BaseException):
    """A test is over its limit. Neither Exception nor failure: code under test catches the one, and Hypothesis tries again after both."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "time_limit(seconds): another limit than the usual one, for each phase of the test")
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
        config.stash[_STDERR] = os.dup(2)
    config.stash[_OVER] = False


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[_ENDED] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """The interpreter would wait for threads that hang for ever."""
    left = [thread.name for thread in threading.enumerate() if not thread.daemon and thread is not threading.main_thread()]
    if config.stash.get(_OVER, False) and left:
        config.get_terminal_writer().flush()
        os.write(config.stash[_STDERR], f"threads that are left from tests over their limit: {', '.join(left)}\n".encode())
        os._exit(config.stash[_ENDED])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    with _limited(item, "setup"):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    with _limited(item, "call"):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    with _limited(item, "teardown"):
        return (yield)


def limit_of(item: pytest.Item) -> float:
    """Seconds for each phase of a test."""
    marker = item.get_closest_marker("time_limit")
    if marker:
        return marker.args[0]
    return HEAVY_LIMIT_S if any(map(item.get_closest_marker, _HEAVY)) else LIMIT_S


@contextlib.contextmanager
def _limited(item: pytest.Item, phase: str) -> Iterator[None]:
    seconds = limit_of(item)
    words = f"{phase} of {item.nodeid} is over its limit of {seconds} s"
    over: list[bool] = []

    def expire(_number: int, frame: FrameType | None) -> None:
        over.append(True)
        item.config.stash[_OVER] = True
        if len(over) == 1:
            item.add_report_section(phase, "over its limit", all_stacks(frame))
            if task := _waiting_task(item):
                task.cancel(words)
                task.get_loop().call_soon_threadsafe(lambda: None)  # wakes the loop: it waits for its next event
                return
        raise _error(phase, words)

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds, GRACE_S)
    faulthandler.dump_traceback_later(seconds + _LAST_RESORT * GRACE_S, exit=True, file=item.config.stash[_STDERR])
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        faulthandler.cancel_dump_traceback_later()
    if over:
        raise _error(phase, f"{words}, and what interrupted it was swallowed")


def _error(phase: str, words: str) -> BaseException:
    """Of a fixture, pytest has to take it for a failure: after anything else it would not end the fixtures around it."""
    return TimeLimitError(words) if phase == "call" else pytest.fail.Exception(words, pytrace=True)


def _waiting_task(item: pytest.Item) -> asyncio.Task[Any] | None:
    """The task in which an asyncio test runs, if its loop is there to cancel it: not if the task itself keeps the loop from running."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return None
    code = getattr(inspect.unwrap(item.obj), "__code__", None)
    waiting = asyncio.all_tasks(loop) - {asyncio.current_task(loop)}
    return next((task for task in waiting if getattr(task.get_coro(), "cr_code", None) is code), None)


def all_stacks(here: FrameType | None) -> str:
    """Where every thread and every asyncio task is; `here` is where the main thread was interrupted."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    frames = sys._current_frames() | {threading.main_thread().ident: here}
    parts = [f"thread {names.get(ident, ident)}\n{''.join(traceback.format_stack(frame))}" for ident, frame in frames.items()]
    # type(), not isinstance(): it runs no code of the objects
    loops = [each for each in gc.get_objects() if issubclass(type(each), asyncio.AbstractEventLoop)]
    tasks = [task for loop in loops for task in asyncio.all_tasks(loop)]
    parts += [f"task {task.get_name()}\n{''.join(traceback.format_list(_awaits(task.get_coro())))}" for task in tasks]
    return "\n".join(parts)


def _awaits(coroutine: Generator[Any, None, Any] | Coroutine[Any, Any, Any]) -> traceback.StackSummary:
    """Where a suspended coroutine waits, then what that waits for, and so on; `Task.get_stack` has the first only."""
    frames = []
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is not None:
            frames.append((frame, frame.f_lineno))
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return traceback.StackSummary.extract(frames)
