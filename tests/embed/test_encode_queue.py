import asyncio
import math
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from tests.embed.embed_doubles import WordEncoder
from tests.settling import settled
from treering.v1.error_pb2 import ErrorReason
from treering_embed.encoder import Encoded
from treering_embed.encoder.backoff import Backoff
from treering_embed.encoder.queue import EncodeMetrics, EncodeQueue, Urgency
from treering_embed.encoder.runs import cut, rows_of, width_of
from treering_embed.limits import MAX_ENCODE_TEXTS, MAX_ENCODE_WORDPIECES, MAX_PASSED_OVER, MAX_WAITING_SEARCHES, MAX_WAITING_TEXTS
from treering_runtime import caller as callers
from treering_runtime.errors import ServiceError


class GatedEncoder(WordEncoder):
    """Runs only when the test lets it, and remembers in which order."""

    def __init__(self) -> None:
        self.gate, self.started, self.order = threading.Semaphore(0), threading.Semaphore(0), []

    def encode(self, texts: Sequence[str]) -> Encoded:
        self.order.append(list(texts))
        self.started.release()
        self.gate.acquire()
        if "bad" in texts:
            raise RuntimeError("the model failed")
        return super().encode(texts)


def never() -> Backoff:
    """Gives way to nobody: no sink is behind."""
    return Backoff(lambda: False)


@pytest.fixture
def gated() -> Iterator[tuple[GatedEncoder, EncodeQueue]]:
    encoder = GatedEncoder()
    queue = EncodeQueue(encoder, EncodeMetrics(CollectorRegistry()), never())
    yield encoder, queue
    encoder.gate.release(1_000)
    queue.close()


async def begin(queue: EncodeQueue, text: str, urgency: Urgency) -> asyncio.Task[Encoded]:
    task = asyncio.create_task(queue.encode([text], urgency))
    await settled()
    return task


async def test_searches_go_before_patterns(gated: tuple[GatedEncoder, EncodeQueue]) -> None:
    encoder, queue = gated
    tasks = [await begin(queue, "running", Urgency.PATTERNS)]
    await asyncio.to_thread(encoder.started.acquire)
    tasks += [await begin(queue, name, urgency) for name, urgency in (("p", 2), ("t", 1), ("s", 0)) for urgency in [Urgency(urgency)]]
    encoder.gate.release(4)
    await asyncio.gather(*tasks)
    assert encoder.order == [["running"], ["s"], ["t"], ["p"]]


@pytest.mark.parametrize("flood", [Urgency.SEARCH, Urgency.TEXTS])
async def test_whatever_floods_the_model_the_less_urgent_have_a_turn_after_a_few_runs(
    gated: tuple[GatedEncoder, EncodeQueue], flood: Urgency
) -> None:
    encoder, queue = gated
    tasks = [await begin(queue, "running", flood)]
    await asyncio.to_thread(encoder.started.acquire)
    others = [urgency for urgency in Urgency if urgency > flood]
    tasks += [await begin(queue, f"{urgency.name} {number}", urgency) for urgency in others for number in range(2)]
    tasks += [await begin(queue, f"flood {number}", flood) for number in range(30)]
    encoder.gate.release(len(tasks))
    await asyncio.gather(*tasks)
    order = [name for (name,) in encoder.order]
    for urgency in others:
        first, second = (order.index(f"{urgency.name} {number}") for number in range(2))
        assert MAX_PASSED_OVER <= first <= MAX_PASSED_OVER + len(others)
        assert second - first <= MAX_PASSED_OVER + len(others)


async def test_patterns_that_give_way_hold_up_no_flood() -> None:
    queue = EncodeQueue(WordEncoder(), EncodeMetrics(CollectorRegistry()), Unending())
    waiting = await begin(queue, "burst", Urgency.PATTERNS)
    await asyncio.gather(*(queue.encode(["text"], Urgency.TEXTS) for _ in range(4 * MAX_PASSED_OVER)))
    assert not waiting.done()
    waiting.cancel()
    await asyncio.to_thread(queue.close)


class Unending(Backoff):
    """Holds new patterns back for ever, but for those whose time is up."""

    def __init__(self) -> None:
        super().__init__(lambda: True)

    def wait_s(self, give_way_until: float) -> float:
        return 3_600.0 if give_way_until == math.inf else 0.0


async def test_new_patterns_give_way_and_searches_do_not() -> None:
    queue = EncodeQueue(WordEncoder(), EncodeMetrics(CollectorRegistry()), Unending())
    waiting = await begin(queue, "burst", Urgency.PATTERNS)
    await queue.encode(["question"], Urgency.SEARCH)
    await queue.encode(["text"], Urgency.TEXTS)
    assert not waiting.done()
    await asyncio.to_thread(queue.close)
    with pytest.raises(ServiceError):
        await waiting


async def test_patterns_whose_time_is_up_give_way_no_more() -> None:
    queue = EncodeQueue(WordEncoder(), EncodeMetrics(CollectorRegistry()), Unending())
    assert len((await queue.encode(["registered", "long ago"], Urgency.PATTERNS, 0.0)).pieces) == 2
    queue.close()


async def test_new_patterns_go_on_after_their_pause() -> None:
    pauses, metrics = iter([0.001] * 3), CollectorRegistry()

    class Short(Backoff):
        def wait_s(self, give_way_until: float) -> float:
            return next(pauses, 0.0)

    queue = EncodeQueue(WordEncoder(), EncodeMetrics(metrics), Short(lambda: True))
    await queue.encode(["pattern"], Urgency.PATTERNS)
    assert next(pauses, "all waited") == "all waited"
    assert metrics.get_sample_value("treering_embed_encode_given_way_seconds_total") > 0
    queue.close()


@pytest.mark.parametrize("urgency", Urgency)
@pytest.mark.parametrize("texts", [["one"], ["one", "two"]])
async def test_who_comes_after_the_end_is_told_so_and_does_not_wait_for_ever(urgency: Any, texts: list[str]) -> None:
    metrics = CollectorRegistry()
    queue = EncodeQueue(WordEncoder(), EncodeMetrics(metrics), never())
    queue.close()
    async with asyncio.timeout(60):
        with pytest.raises(ServiceError, match="just replaced") as refused:
            await queue.encode(texts, urgency)
    assert refused.value.reason == ErrorReason.ERROR_REASON_STARTING
    assert metrics.get_sample_value("treering_embed_encode_waiting", {"urgency": urgency.name.lower()}) == 0


async def test_what_waits_when_the_queue_ends_is_told_so_each_with_an_error_of_its_own(gated: tuple[GatedEncoder, EncodeQueue]) -> None:
    encoder, queue = gated
    running = await begin(queue, "running", Urgency.SEARCH)
    await asyncio.to_thread(encoder.started.acquire)
    waiting = [await begin(queue, "waiting", Urgency.SEARCH) for _ in range(2)]
    closing = asyncio.create_task(asyncio.to_thread(queue.close))
    encoder.gate.release(1_000)
    await asyncio.gather(running, closing)
    errors = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(error, ServiceError | Encoded) for error in errors)
    assert len({id(error) for error in errors}) == 2
    await asyncio.to_thread(queue.close)  # the second one finds nothing to refuse


async def test_a_search_whose_caller_is_gone_is_skipped(gated: tuple[GatedEncoder, EncodeQueue]) -> None:
    encoder, queue = gated
    running = await begin(queue, "running", Urgency.PATTERNS)
    await asyncio.to_thread(encoder.started.acquire)
    gone = await begin(queue, "gone", Urgency.SEARCH)
    gone.cancel()
    await asyncio.wait({gone})
    last = await begin(queue, "last", Urgency.SEARCH)
    encoder.gate.release(3)
    await asyncio.gather(running, last)
    assert encoder.order == [["running"], ["last"]]


async def test_too_many_waiting_searches_are_refused_with_a_time_to_retry(gated: tuple[GatedEncoder, EncodeQueue]) -> None:
    encoder, queue = gated
    tasks = [await begin(queue, "running", Urgency.SEARCH)]
    await asyncio.to_thread(encoder.started.acquire)
    tasks += [await begin(queue, f"s{number}", Urgency.SEARCH) for number in range(MAX_WAITING_SEARCHES)]
    with pytest.raises(ServiceError) as refused:
        await queue.encode(["one more"], Urgency.SEARCH)
    assert refused.value.metadata == {"limit": "max_waiting_searches"}
    assert refused.value.retry_after_s
    encoder.gate.release(1_000)
    await asyncio.gather(*tasks)
    await queue.encode(["room again"], Urgency.SEARCH)


async def test_a_failure_of_the_model_reaches_its_caller_only(gated: tuple[GatedEncoder, EncodeQueue]) -> None:
    encoder, queue = gated
    encoder.gate.release(10)
    with pytest.raises(RuntimeError, match="the model failed"):
        await queue.encode(["bad"], Urgency.SEARCH)
    assert (await queue.encode(["good"], Urgency.SEARCH)).dense.shape == (1, WordEncoder.dimension)


async def test_many_texts_come_back_in_their_order() -> None:
    queue = EncodeQueue(WordEncoder(), EncodeMetrics(CollectorRegistry()), never())
    texts = [" ".join(f"w{number}" for number in range(1 + index * 7 % 50)) for index in range(150)]
    found, wanted = await queue.encode(texts, Urgency.PATTERNS), WordEncoder().encode(texts)
    queue.close()
    np.testing.assert_array_equal(found.dense, wanted.dense)
    assert [row.tolist() for row in found.pieces] == [row.tolist() for row in wanted.pieces]


async def test_texts_that_are_measured_or_wait_are_counted_until_their_run_begins(gated: tuple[GatedEncoder, EncodeQueue]) -> None:
    encoder, queue = gated
    full = asyncio.create_task(queue.encode(["w"] * MAX_WAITING_TEXTS, Urgency.TEXTS))
    await asyncio.to_thread(encoder.started.acquire)
    with pytest.raises(ServiceError):
        await queue.encode(["w"] * (MAX_ENCODE_TEXTS + 1), Urgency.TEXTS)
    encoder.gate.release(MAX_WAITING_TEXTS)
    await full
    await queue.encode(["w"] * MAX_WAITING_TEXTS, Urgency.TEXTS)


async def test_texts_that_cannot_be_measured_wait_no_more(gated: tuple[GatedEncoder, EncodeQueue], monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, queue = gated
    monkeypatch.setattr(encoder, "lengths", lambda texts: [][len(texts)])
    for _ in range(2):
        with pytest.raises(IndexError):
            await queue.encode(["w"] * MAX_WAITING_TEXTS, Urgency.TEXTS)


@given(st.lists(st.integers(2, 128), max_size=200))
def test_runs_hold_each_text_once_within_bounds_and_are_full_but_for_the_last(lengths: list[Any]) -> None:
    runs = cut(lengths)
    assert sorted(index for run in runs for index in run) == list(range(len(lengths)))
    for number, run in enumerate(runs):
        width = width_of(max(lengths[index] for index in run))
        assert len(run) <= rows_of(width)
        assert len(run) <= MAX_ENCODE_TEXTS
        assert len(run) * width <= MAX_ENCODE_WORDPIECES
        assert number == len(runs) - 1 or len(run) == rows_of(width)


async def begin_as(caller: str, queue: EncodeQueue, texts: list[Any], urgency: Urgency) -> asyncio.Task[Any]:
    """A call of a caller, as far as it comes."""

    async def call() -> Encoded:
        callers.serve(caller)
        return await queue.encode(texts, urgency)

    task = asyncio.create_task(call())
    await settled()
    return task


@pytest.mark.parametrize("urgency", [Urgency.SEARCH, Urgency.TEXTS])
async def test_callers_take_turns(gated: tuple[GatedEncoder, EncodeQueue], urgency: Urgency) -> None:
    encoder, queue = gated
    running = await begin(queue, "running", urgency)
    await asyncio.to_thread(encoder.started.acquire)
    tasks = [await begin_as("unix:flood", queue, [f"flood {number}"], urgency) for number in range(6)]
    tasks += [await begin_as("unix:one", queue, [f"one {number}"], urgency) for number in range(2)]
    tasks += [await begin_as("unix:other", queue, ["other"], urgency)]
    encoder.gate.release(10)
    await asyncio.gather(running, *tasks)
    names = [texts[0] for texts in encoder.order[1:]]
    assert set(names[:3]) == {"flood 0", "one 0", "other"}
    assert set(names[3:5]) == {"flood 1", "one 1"}
    assert names[5:] == [f"flood {number}" for number in range(2, 6)]


async def test_a_caller_that_asks_again_at_once_does_not_pass_those_that_wait(gated: tuple[GatedEncoder, EncodeQueue]) -> None:
    encoder, queue = gated
    tasks = [await begin_as("unix:again", queue, ["again 0"], Urgency.SEARCH)]
    await asyncio.to_thread(encoder.started.acquire)
    tasks += [await begin_as("unix:waits", queue, [f"waits {number}"], Urgency.SEARCH) for number in range(2)]
    for number in range(1, 4):
        tasks.append(await begin_as("unix:again", queue, [f"again {number}"], Urgency.SEARCH))
        encoder.gate.release()
        await asyncio.to_thread(encoder.started.acquire)
    encoder.gate.release(10)
    await asyncio.gather(*tasks)
    assert {"waits 0", "waits 1"} <= {texts[0] for texts in encoder.order[:5]}


@pytest.mark.parametrize(("urgency", "most"), [(Urgency.SEARCH, MAX_WAITING_SEARCHES), (Urgency.TEXTS, MAX_WAITING_TEXTS)])
async def test_a_caller_that_fills_the_line_makes_room_for_others(
    gated: tuple[GatedEncoder, EncodeQueue], urgency: Urgency, most: int
) -> None:
    encoder, queue = gated
    running = await begin(queue, "running", urgency)
    await asyncio.to_thread(encoder.started.acquire)
    flood = [await begin_as("unix:flood", queue, [f"flood {number}"], urgency) for number in range(most)]
    with pytest.raises(ServiceError, match="wait for the model already"):
        await (await begin_as("unix:flood", queue, ["one more"], urgency))
    honest = await begin_as("unix:honest", queue, ["honest"], urgency)
    with pytest.raises(ServiceError, match="more texts of yours than of any other caller wait") as refused:
        await flood[-1]
    assert refused.value.reason == ErrorReason.ERROR_REASON_OVERLOADED
    encoder.gate.release(most + 2)
    assert (await honest).dense.shape[0] == 1
    await asyncio.gather(running, *flood[:-1])
    assert {"honest"} < {texts[0] for texts in encoder.order[:3]}


async def test_a_call_of_many_texts_makes_room_as_a_whole_while_it_is_measured_and_after(gated: tuple[GatedEncoder, EncodeQueue]) -> None:
    encoder, queue = gated
    running = await begin(queue, "running", Urgency.TEXTS)
    await asyncio.to_thread(encoder.started.acquire)
    calls = [await begin_as("unix:flood", queue, [f"text {number}" for number in range(256)], Urgency.TEXTS) for _ in range(4)]
    honest = await begin_as("unix:honest", queue, ["honest"], Urgency.TEXTS)
    with pytest.raises(ServiceError, match="others came"):
        await calls[-1]
    encoder.gate.release(1_000)
    assert (await honest).dense.shape[0] == 1
    await asyncio.gather(running, *calls[:-1])
    assert queue._line._waiting == {urgency: {} for urgency in Urgency}
    assert not queue._line._calls


async def test_of_a_caller_that_is_gone_nothing_waits(gated: tuple[GatedEncoder, EncodeQueue]) -> None:
    encoder, queue = gated
    running = await begin(queue, "running", Urgency.TEXTS)
    await asyncio.to_thread(encoder.started.acquire)
    for _ in range(20):
        gone = await begin_as("unix:flood", queue, [f"text {number}" for number in range(200)], Urgency.TEXTS)
        gone.cancel()
        await settled()
    assert len(queue._line) == 0
    encoder.gate.release(10)
    await running
