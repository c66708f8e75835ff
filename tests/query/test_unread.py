"""Of every stream that nobody reads, what it holds is given back after the patience of the server."""

import asyncio
import itertools

import pytest
from google.protobuf import descriptor_pool

from tests.not_reading import not_reading
from tests.patience import PATIENCE_S
from treering.v1 import query_pb2 as pb
from treering_query.answers import verifying
from treering_query.sealed.check import CheckProgress, StoreProblem
from treering_runtime.answers import CallBounds

SERVICES = ("treering.v1.QueryService", "treering.v1.QueryAdminService")
STREAMS = {
    "ExecuteSql": (pb.ExecuteSqlRequest(query="select * from logs"), lambda servicer: servicer._sql._admission),
    "ExportLogs": (pb.ExportLogsRequest(), lambda servicer: servicer._exports.admission),
    "TailLogs": (pb.TailLogsRequest(backlog=2_000), lambda servicer: servicer._followers),
    "WatchPatterns": (pb.WatchPatternsRequest(since_unix_nano=1), lambda servicer: servicer._followers),
    "VerifyStore": (pb.GetQueryStatusRequest(), lambda servicer: servicer._verifying._admission),
}
"""What is asked, and what it takes a turn of."""


def streaming():
    for service in SERVICES:
        for method in descriptor_pool.Default().FindServiceByName(service).methods:
            if method.server_streaming:
                yield method.name, service


def test_every_stream_is_here():
    assert dict(streaming()).keys() == STREAMS.keys()


def endless(inventory):
    """A check that finds much."""
    return (CheckProgress(number, 0, 0, (StoreProblem("file", "x" * 50_000),)) for number in itertools.count(1))


def wordy(record, number):
    word = "".join(chr(ord("a") + int(digit)) for digit in str(number))
    return record(number, message=f"kind {word} {'and so on ' * 100}")


@pytest.mark.parametrize("name", STREAMS)
async def test_what_an_unread_stream_holds_is_given_back(serving, frame, record, monkeypatch, name):
    monkeypatch.setattr(verifying, "check", endless)
    request, admission = STREAMS[name]
    async with serving(CallBounds(unread_s=0.2)) as (store, client), asyncio.timeout(PATIENCE_S):
        await store.open_log(7, 0)
        await store.deliver(7, [frame(0, [wordy(record, number) for number in range(2_000)])], 2_000)
        turns = admission(client.servicer)
        async with not_reading(client.inner if name == "VerifyStore" else client.public) as stranger:
            stranger.call(f"{dict(streaming())[name]}/{name}", request.SerializeToString())
            while not turns.present:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0)
            while turns.present or store._published.held():  # noqa: ASYNC110 - nor for this
                await asyncio.sleep(0)
            if name != "VerifyStore":  # nobody hangs up on the inner plane, where callers are ourselves
                await stranger.closed.wait()
