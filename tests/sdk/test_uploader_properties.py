import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sdk.conftest import FakeIngest
from tests.sdk.facades import AnyClient
from treering import LogRecord
from treering.patience import Patience

FAULTS = st.lists(st.sampled_from(["ok", "lost", "refused", "broken", "ended"]), max_size=25)
MANY = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@MANY
@given(FAULTS, st.integers(0, 60), st.integers(1, 9))
def test_any_faults_store_each_record_once_in_order(
    client: AnyClient, ingest: FakeIngest, monkeypatch: pytest.MonkeyPatch, faults: list[str], count: int, batch: int
) -> None:
    monkeypatch.setattr(Patience, "delay", lambda *_: 0.0)
    ingest.stored.clear()
    ingest.faults.clear()
    ingest.faults.extend(faults)
    uploader = client.uploader(linger_s=math.inf, max_batch_records=batch)
    for number in range(count):
        uploader.send(LogRecord(message=str(number)))
    result = uploader.close()
    assert ingest.stored == [str(number) for number in range(count)]
    assert (result.accepted, result.duplicate, result.uncertain) == (count, 0, 0)
