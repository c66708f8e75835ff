"""A request that cannot be serialised is never sent as an empty one, which would be another question."""

import pytest

from tests.sdk.conftest import FakeIngest, Serving
from treering import AsyncClient
from treering.inner.whole_requests import whole_requests
from treering.methods import Methods
from treering.v1.ingest_pb2 import StreamLogsRequest
from treering.v1.ingest_pb2_grpc import IngestServiceStub

RPCS = vars(Methods)


async def test_a_call_without_memory_for_its_request_asks_nothing(serving: Serving) -> None:
    async with AsyncClient(serving.endpoints) as client:
        with pytest.raises(TypeError):
            await client.call(RPCS["get_ingest_status"], object(), 5.0)
        assert (await client.get_ingest_status()).log_id


async def test_a_stream_of_answers_without_memory_for_its_request_asks_nothing(serving: Serving) -> None:
    async with AsyncClient(serving.endpoints) as client:
        with pytest.raises(TypeError):
            await anext(client.stream(RPCS["execute_sql"], object(), 5.0))


async def test_a_stream_of_requests_says_which_it_could_not_send(serving: Serving, ingest: FakeIngest) -> None:
    async with AsyncClient(serving.endpoints) as client:
        call = IngestServiceStub(whole_requests(client._ingest_channel)).StreamLogs()
        with pytest.raises(TypeError):
            await call.write(object())
        await call.write(StreamLogsRequest(producer_id="me", sequence=1, batch={"records": [{"message": "one"}]}))
        assert (await call.read()).accepted_count == 1
        call.cancel()
    assert ingest.stored == ["one"]
