import math

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from treering import AsyncClient, Client, LogRecord
from treering.patience import Patience

FAULTS = st.lists(st.sampled_from(["ok", "lost", "refused", "broken", "ended"]), max_size=25)
MANY = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def quick(monkeypatch):
    monkeypatch.setattr(Patience, "delay", lambda *_: 0.0)


@MANY
@given(FAULTS, st.integers(0, 60), st.integers(1, 9))
def test_any_faults_store_each_record_once_in_order(serving, ingest, monkeypatch, faults, count, batch):
    quick(monkeypatch)
    ingest.stored.clear()
    ingest.faults.clear()
    ingest.faults.extend(faults)
    with Client(serving.endpoints) as client:
        uploader = client.uploader(linger_s=math.inf, max_batch_records=batch)
        for number in range(count):
            uploader.send(LogRecord(message=str(number)))
        result = uploader.close()
    assert ingest.stored == [str(number) for number in range(count)]
    assert (result.accepted, result.duplicate, result.uncertain) == (count, 0, 0)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FAULTS, st.integers(0, 60), st.integers(1, 9))
async def test_any_faults_store_each_record_once_in_order_asyncio(serving, ingest, monkeypatch, faults, count, batch):
    quick(monkeypatch)
    ingest.stored.clear()
    ingest.faults.clear()
    ingest.faults.extend(faults)
    async with AsyncClient(serving.endpoints) as client:
        uploader = client.uploader(linger_s=math.inf, max_batch_records=batch)
        for number in range(count):
            await uploader.send(LogRecord(message=str(number)))
        result = await uploader.close()
    assert ingest.stored == [str(number) for number in range(count)]
    assert (result.accepted, result.duplicate, result.uncertain) == (count, 0, 0)
