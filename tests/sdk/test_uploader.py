"""What an uploader promises, on threads and on an event loop."""

import math
import threading
from types import SimpleNamespace
from typing import Any, Never

import pytest

from tests.patience import PATIENCE_S
from tests.sdk.conftest import FakeIngest, Serving
from tests.sdk.facades import AnyClient, Connect, LoopClient
from treering import LogRecord, ProducerError, UnavailableError
from treering.client import Client
from treering.limits import LARGEST_BATCH_BYTES, LARGEST_BATCH_RECORDS
from treering.upload_state import UploadResult, UploadState
from treering.v1.ingest_pb2 import StreamLogsRequest

from .facades import until

SMALL = {"linger_s": math.inf, "max_batch_records": 10}


def records(count: int, start: int = 0) -> list[Any]:
    return [LogRecord(message=f"record {number}", service="s", attributes={"b": "2", "a": "1"}) for number in range(start, start + count)]


def upload(client: Client | LoopClient, count: int, producer_id: str = "", **options: float) -> UploadResult:
    uploader = client.uploader(producer_id, **SMALL, **options)
    for number, record in enumerate(records(count)):
        uploader.send(record, number)
    return uploader.close()


def test_all_records_are_stored_in_order_and_counted(client: AnyClient, ingest: FakeIngest) -> None:
    result = upload(client, 95)
    assert (result.accepted, result.duplicate, result.rejected, result.end_offset) == (95, 0, 0, 95)
    assert ingest.stored == [f"record {number}" for number in range(95)]


@pytest.mark.parametrize("fault", ["lost", "refused", "broken", "ended"])
def test_a_fault_at_any_batch_loses_and_repeats_nothing(client: AnyClient, ingest: FakeIngest, fault: str) -> None:
    ingest.faults.extend(["ok", "ok", fault, "ok", fault, fault, "ok"])
    result = upload(client, 95)
    assert ingest.stored == [f"record {number}" for number in range(95)]
    assert (result.accepted, result.duplicate) == (95, 0)
    assert result.reconnects == 3


def test_restart_of_ingest_in_the_middle_is_survived(client: AnyClient, ingest: FakeIngest, serving: Serving) -> None:
    uploader = client.uploader(**SMALL)
    for record in records(50):
        uploader.send(record)
    assert uploader.flush(30)
    serving.stop()
    for record in records(50, start=50):
        uploader.send(record)
    serving.start()
    result = uploader.close()
    assert ingest.stored == [f"record {number}" for number in range(100)]
    assert result.accepted == 100
    assert result.reconnects >= 1


def test_forgotten_producer_takes_a_new_id_and_says_what_is_uncertain(client: AnyClient, ingest: FakeIngest) -> None:
    ingest.faults.extend(["ok", "ok", "forgotten"])
    result = upload(client, 95, producer_id="mine")
    assert result.producer_id != "mine"
    assert 0 < result.uncertain <= 50
    assert ingest.stored == [f"record {number}" for number in range(95)]


def test_same_upload_under_the_same_id_is_all_duplicates_however_long(client: AnyClient, ingest: FakeIngest) -> None:
    upload(client, 95, producer_id="mine")
    again = upload(client, 95, producer_id="mine")
    assert (again.accepted, again.duplicate) == (0, 95)
    assert len(ingest.stored) == 95


def test_longer_upload_under_the_same_id_stores_only_what_is_new(client: AnyClient, ingest: FakeIngest) -> None:
    upload(client, 90, producer_id="mine")
    again = upload(client, 130, producer_id="mine")
    assert (again.accepted, again.duplicate) == (40, 90)
    assert ingest.stored == [f"record {number}" for number in range(130)]


def test_other_records_under_a_used_id_are_refused_not_called_duplicates(client: AnyClient, ingest: FakeIngest) -> None:
    upload(client, 95, producer_id="mine")
    uploader = client.uploader("mine", **SMALL)
    for record in records(20, start=1_000):
        uploader.send(record)
    with pytest.raises(ProducerError) as caught:
        uploader.close()
    assert caught.value.reason == "SEQUENCE_REUSED"
    assert uploader.result().duplicate == 0
    assert len(ingest.stored) == 95


def test_refused_records_are_named_by_their_ref(client: AnyClient, ingest: FakeIngest) -> None:
    uploader = client.uploader(**SMALL)
    for number in range(25):
        uploader.send(LogRecord(message="" if number % 10 == 7 else "text"), f"line {number}")
    uploader.send(LogRecord(message="x" * (1024 * 1024)), "too large")
    result = uploader.close()
    assert (result.accepted, result.rejected) == (23, 3)
    assert {(each.ref, each.reason) for each in result.rejections} == {
        ("line 7", "MESSAGE_EMPTY"),
        ("line 17", "MESSAGE_EMPTY"),
        ("too large", "RECORD_TOO_LARGE"),
    }


def test_refused_records_are_named_after_a_lost_acknowledgement_too(client: AnyClient, ingest: FakeIngest) -> None:
    ingest.faults.extend(["ok", "lost"])
    uploader = client.uploader(**SMALL)
    for number in range(30):
        uploader.send(LogRecord(message="" if number == 15 else "text"), number)
    result = uploader.close()
    assert [each.ref for each in result.rejections] == [15]
    assert (result.accepted, result.rejected) == (29, 1)


def test_unreachable_ingest_ends_the_upload_with_its_address(connect: Connect, serving: Serving) -> None:
    serving.stop()
    with connect(serving.endpoints) as client:
        uploader = client.uploader(retry_for_s=0)
        uploader.send(LogRecord(message="text"))
        with pytest.raises(UnavailableError, match=f"127.0.0.1:{serving.port}"):
            uploader.close()
        with pytest.raises(UnavailableError):
            uploader.send(LogRecord(message="text"))
    serving.start()


def test_send_waits_while_too_much_is_pending(client: AnyClient, ingest: FakeIngest, serving: Serving) -> None:
    serving.stop()
    uploader = client.uploader(max_pending_bytes=2_000, max_batch_records=10)
    sent = []

    def send_all() -> None:
        for record in records(200):
            uploader.send(record)
            sent.append(record)

    sender = threading.Thread(target=send_all)
    sender.start()
    until(uploader, lambda: uploader._core.state.full)
    assert len(sent) < 200
    serving.start()
    sender.join(PATIENCE_S)
    result = uploader.close()
    assert len(ingest.stored) == 200
    assert result.blocked_s > 0


def test_a_batch_that_is_not_full_goes_after_the_linger_time(client: AnyClient, ingest: FakeIngest) -> None:
    with client.uploader(linger_s=0.01) as uploader:
        uploader.send(LogRecord(message="alone"))
        until(uploader, lambda: uploader._core.state.idle)
        assert ingest.stored == ["alone"]


def test_abort_returns_at_once_and_an_ended_uploader_takes_nothing(client: AnyClient, serving: Serving) -> None:
    serving.stop()
    uploader = client.uploader()
    uploader.send(LogRecord(message="text"))
    assert uploader.abort().accepted == 0
    with pytest.raises(ValueError, match="closed"):
        uploader.send(LogRecord(message="text"))
    serving.start()


def test_a_service_that_keeps_the_connection_and_says_nothing_is_left(client: AnyClient, ingest: FakeIngest) -> None:
    ingest.faults.extend(["ok", "silent", "ok", "silent"])
    result = upload(client, 95, acknowledge_within_s=0.2)
    assert ingest.stored == [f"record {number}" for number in range(95)]
    assert (result.accepted, result.duplicate) == (95, 0)
    assert result.reconnects == 2


def test_silence_for_too_long_ends_the_upload_with_its_reason(client: AnyClient, ingest: FakeIngest) -> None:
    ingest.faults.extend(["silent"] * 100)
    uploader = client.uploader(acknowledge_within_s=0.1, retry_for_s=0)
    uploader.send(LogRecord(message="text"))
    with pytest.raises(UnavailableError, match=r"acknowledged nothing for 0\.1 s"):
        uploader.close()


def test_abort_wakes_who_waits_in_flush_and_send(client: AnyClient, ingest: FakeIngest) -> None:
    ingest.faults.append("silent")
    uploader = client.uploader(**SMALL, max_pending_bytes=500, acknowledge_within_s=3_600)
    raised = []

    def wait_in(method: str) -> None:
        with pytest.raises(ValueError, match="closed") as caught:
            method()
        raised.append(caught.value)

    def send_all() -> None:
        for record in records(1_000):
            uploader.send(record)

    waiting = [threading.Thread(target=wait_in, args=(method,)) for method in (send_all, uploader.flush)]
    waiting[0].start()
    until(uploader, lambda: uploader._core.state.full)
    waiting[1].start()
    uploader.abort()
    for thread in waiting:
        thread.join(PATIENCE_S)
    assert len(raised) == 2


@pytest.mark.parametrize(("text", "count"), [("m", LARGEST_BATCH_RECORDS + 1), ("m" * 1_000_000, 10)])
def test_what_is_gathered_beyond_the_largest_batch_is_sent_in_several(text: str, count: int) -> None:
    state = UploadState("me", {"max_batch_records": 10**9, "max_batch_bytes": 10**9, "max_pending_bytes": 10**9})
    record = LogRecord(message=text)
    for _ in range(count):
        state.add(record, None, 0.0)
    state.seal()
    sizes = []
    while state.sendable and len(sizes) < 5:
        raw = state.take(0.0)
        assert len(raw) <= 4 * 1024 * 1024
        sizes.append(len(StreamLogsRequest.FromString(raw).batch.records))
    assert sum(sizes) == count
    assert len(sizes) > 1
    assert max(sizes) * len(record.SerializeToString()) <= LARGEST_BATCH_BYTES


def test_a_resource_goes_with_each_batch_and_a_repeat_has_the_same_bytes() -> None:
    resource = {"host.name": "db-1", "b": "2", "a": "1"}
    taken = []
    for order in (resource, dict(sorted(resource.items()))):
        state = UploadState("me", {"resource": order, "max_batch_records": 1})
        for text in ("one", "two"):
            state.add(LogRecord(message=text), None, 0.0)
        taken.append([state.take(0.0) for _ in range(2)])
    assert taken[0] == taken[1]
    sent = [StreamLogsRequest.FromString(raw).batch for raw in taken[0]]
    assert [(dict(batch.resource), [record.message for record in batch.records]) for batch in sent] == [
        (resource, ["one"]),
        (resource, ["two"]),
    ]


def test_a_resource_that_is_no_text_is_refused_at_once() -> None:
    with pytest.raises(TypeError):
        UploadState("me", {"resource": {"port": 80}})  # type: ignore[dict-item]


def test_a_batch_that_there_is_no_memory_to_seal_is_sealed_later(monkeypatch: pytest.MonkeyPatch) -> None:
    state = UploadState("me", {})
    state.add(LogRecord(message="one"), None, 0.0)

    with monkeypatch.context() as patched:
        patched.setattr("treering.upload_state.StreamLogsRequest", lambda **_: SimpleNamespace(SerializeToString=_without_memory))
        with pytest.raises(MemoryError):
            state.seal()
    assert (state.pending, state.sendable) == (1, False)
    state.seal()
    sent = StreamLogsRequest.FromString(state.take(0.0))
    assert (sent.sequence, [record.message for record in sent.batch.records]) == (1, ["one"])


def _without_memory(**_: object) -> Never:
    raise MemoryError
