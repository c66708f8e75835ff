"""Of what is bounded and waited for by nobody, no caller holds more than half."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treering.v1.error_pb2 import ErrorReason
from treering_runtime import caller
from treering_runtime.errors import ServiceError
from treering_runtime.shares import Shares


def calls(whole: int) -> Shares:
    return Shares("max_open_calls", whole, ("calls", "are open"))


def as_caller(name: str) -> Any:
    context = caller.as_ourselves()
    context.run(caller.serve, f"unix:{name}")
    return context


@pytest.fixture
def holding() -> Iterator[Callable[[Any, Any, Any], Any]]:
    """Holds an amount for a caller until the test ends."""
    with ExitStack() as stack:
        yield lambda shares, name, amount: as_caller(name).run(lambda: stack.enter_context(shares.held(amount)))


def test_no_caller_holds_more_than_half_and_others_hold_the_rest(holding: Callable[[Any, Any, Any], Any]) -> None:
    shares = calls(6)
    for _ in range(3):
        holding(shares, "greedy", 1)
    with pytest.raises(ServiceError, match="3 calls of yours are open already, and the rest is for other callers") as refused:
        holding(shares, "greedy", 1)
    assert refused.value.reason == ErrorReason.ERROR_REASON_OVERLOADED
    assert refused.value.metadata == {"limit": "max_open_calls_of_one_caller"}
    for name in "abc":
        holding(shares, name, 1)
    with pytest.raises(ServiceError, match="6 calls are open already") as refused:
        holding(shares, "d", 1)
    assert refused.value.metadata == {"limit": "max_open_calls"}


def test_whoever_holds_nothing_may_hold_one_that_is_larger_than_its_share(holding: Callable[[Any, Any, Any], Any]) -> None:
    shares = calls(10)
    holding(shares, "large", 8)
    with pytest.raises(ServiceError, match="of yours"):
        holding(shares, "large", 1)
    with pytest.raises(ServiceError, match="8 calls are open already"):
        holding(shares, "other", 3)
    holding(shares, "other", 2)


def test_connections_of_this_host_are_bounded_and_other_hosts_are_not(holding: Callable[[Any, Any, Any], Any]) -> None:
    shares = Shares("max_open_calls", 100, ("calls", "are open"), connections=2)
    with ExitStack() as first:
        as_caller("first").run(lambda: first.enter_context(shares.held(1)))
        holding(shares, "second", 1)
        holding(shares, "second", 1)
        with pytest.raises(ServiceError, match="2 connections of this host have calls that are open already; use fewer") as refused:
            holding(shares, "third", 1)
        assert refused.value.metadata == {"limit": "max_local_connections"}
        remote = caller.as_ourselves()
        remote.run(caller.serve, "ipv4:192.0.2.7:41000")
        remote.run(lambda: first.enter_context(shares.held(1)))
    holding(shares, "third", 1)


def test_work_of_our_own_is_not_counted() -> None:
    shares = calls(2)
    with shares.held(1_000):
        assert shares.total == 0


@given(st.integers(1, 12), st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 8)), max_size=60))
def test_whatever_comes_and_goes_the_bounds_hold_and_nothing_is_left(whole: int, steps: list[Any]) -> None:
    shares, held = calls(whole), {name: [] for name in "abc"}
    for name, amount in steps:
        own = sum(size for size, _ in held[name])
        if not amount and held[name]:
            held[name].pop()[1].close()
        elif amount:
            stack = ExitStack()
            fits = (not own or own + amount <= max(1, whole // 2)) and shares.total + amount <= whole
            try:
                as_caller(name).run(lambda stack=stack, amount=amount: stack.enter_context(shares.held(amount)))
            except ServiceError:
                assert not fits
            else:
                assert fits
                held[name].append((amount, stack))
        assert shares.total == sum(size for each in held.values() for size, _ in each) <= whole
    for each in held.values():
        for _, stack in each:
            stack.close()
    assert (shares.total, len(shares._held)) == (0, 0)
