"""What ingest believes of a sink: with a proof what the proof covers, without one nothing that deletes a record."""

import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hostile import ALL, SEED
from tests.ingest.conftest import RequestOf, Running
from tests.ingest.scripted_sinks import Claiming, Lying, trimmed
from tests.ingest.test_delivery import (  # noqa: F401 - fixtures
    Keeps,
    KeepsLink,
    impatient,
    link_in,
    numbered,
    places,
    serving,
    until,
    upload,
)
from tests.links import link_at
from treering.v1.ingest_pb2 import GetIngestStatusRequest, UploadLogsRequest
from treering.v1.sink_pb2 import SinkProgress
from treering_ingest.claims import Claims, SinkAheadError
from treering_ingest.process import IngestProcess
from treering_ingest.settings import parse_sinks
from treering_ingest.sink_state import SinkState

if TYPE_CHECKING:
    from treering.v1.ingest_pb2_grpc import IngestServiceAsyncStub

pytestmark = pytest.mark.usefixtures("impatient")
LOG = 0xA1


@pytest.fixture
def filled(running: Running, request_of: RequestOf) -> "Any":
    """An ingest in many segments with records 0 to 399, then the given sinks."""

    @asynccontextmanager
    async def fill(sinks: str, **changes: Any) -> "AsyncIterator[tuple[IngestProcess, IngestServiceAsyncStub, SinkState | None]]":
        async with running(segment_bytes=2_000) as (process, stub):
            if not process.log.end_offset:
                for batch in range(40):
                    await upload(stub, request_of, batch * 10, 1, 10, first_sequence=1 + batch)
            assert len(process.log.segments) > 1
        async with running(sinks=sinks, segment_bytes=2_000, **changes) as (process, stub):
            yield process, stub, process.deliveries[0].state if sinks else None

    return fill


def alarm(process: IngestProcess) -> float | None:
    return process.registry.get_sample_value("treering_ingest_sink_ahead", {"sink": "sink"})


FALSE = {
    "safe, and asks for all": {"releasable_end_offset": 400},
    "visible, and asks for all": {"visible_end_offset": 400},
    "held, without a link": {"next_offset": 400, "releasable_end_offset": 400},
    "held, with a made-up link": {"next_offset": 400, "releasable_end_offset": 400, "link": 99},
    "held up to the middle of a batch": {"next_offset": 395, "releasable_end_offset": 395, "link": 99},
    "held, with the link zero": {"next_offset": 200, "releasable_end_offset": 200, "link": 0},
}


@pytest.mark.parametrize("claim", FALSE.values(), ids=FALSE)
async def test_a_claim_within_the_log_that_is_not_proved_is_cut_off_and_deletes_nothing(
    filled: Any, request_of: RequestOf, claim: str
) -> None:
    async with serving(None, servicer=Claiming(claim)) as address, filled(f"sink={address}") as (process, stub, state):
        await until(lambda: "CHAIN_BROKEN" in state.last_error, process)
        assert await trimmed(process) == 0
        status = await stub.GetIngestStatus(GetIngestStatusRequest())
        assert (status.sinks[0].is_ahead, alarm(process), status.refusing_because) == (True, 1, "")
        # the log has what was claimed, so no offset is given out twice: uploads go on
        assert (await stub.UploadLogs(iter([numbered(request_of, 400, 1, 41)]))).accepted_count == 1


async def test_the_link_of_another_place_proves_nothing(filled: Any) -> None:
    async with filled("") as (process, *_):
        link = await link_in(process, 100)
    claim = {"next_offset": 400, "releasable_end_offset": 400, "link": link}
    async with serving(None, servicer=Claiming(claim)) as address, filled(f"sink={address}") as (process, _, state):
        await until(lambda: "another history" in state.last_error, process)
        assert await trimmed(process) == 0


async def test_the_link_of_its_place_proves_what_is_below_and_the_log_forgets_it(filled: Any) -> None:
    async with filled("") as (process, *_):
        link = await link_in(process, 200)
    sink = Claiming({"next_offset": 200, "visible_end_offset": 200, "releasable_end_offset": 150, "link": link})
    async with serving(None, servicer=sink) as address, filled(f"sink={address}") as (process, _, state):
        await until(lambda: state.connected, process)
        assert 0 < await trimmed(process) < 150


@pytest.mark.parametrize("link", [{}, {"link": 99}], ids=["no link", "another link"])
async def test_in_the_middle_of_a_delivery_a_range_is_safe_with_its_link_alone(filled: Any, link: dict[str, int]) -> None:
    sink = Claiming({}, {"next_offset": 400, "releasable_end_offset": 400} | link)
    async with serving(None, servicer=sink) as address, filled(f"sink={address}") as (process, _, state):
        await until(lambda: sink.requests and (state.ahead or state.progress.next_offset == 400 or sink.calls > 1), process)
        assert await trimmed(process) == 0


async def test_what_an_honest_sink_has_safe_goes_after_restarts_of_ingest_too(filled: Any, request_of: RequestOf) -> None:
    sink = Keeps()
    async with serving(sink) as address:
        async with filled(f"sink={address}") as (process, _, state):
            await until(lambda: state.progress.releasable_end_offset == 400, process)
            begin = await trimmed(process)
            assert 0 < begin < 400
        async with filled(f"sink={address}") as (process, stub, state):
            await until(lambda: state.connected, process)
            for batch in range(40, 80):
                await upload(stub, request_of, batch * 10, 1, 10, first_sequence=1 + batch)
            await until(lambda: state.progress.releasable_end_offset == 800, process)
            assert await trimmed(process) > begin
    assert sink.messages == [f"record {number}" for number in range(800)]


async def test_while_a_sink_is_cut_off_nothing_is_deleted_on_its_earlier_word(filled: Any) -> None:
    async with filled("") as (process, *_):
        link = await link_in(process, 400)
    sink = Claiming({"next_offset": 400, "releasable_end_offset": 400, "link": link})
    async with serving(None, servicer=sink) as address, filled(f"sink={address}") as (process, _, state):
        await until(lambda: state.connected and state.progress.releasable_end_offset == 400, process)
        sink.claims = ({"next_offset": 400, "releasable_end_offset": 400, "link": link ^ 1},)
        process.deliveries[0]._silence_s = 0.01
        await until(lambda: state.ahead is not None, process)
        assert await trimmed(process) == 0


async def test_a_sink_that_claims_too_much_again_and_again_does_not_end_the_alarm(filled: Any) -> None:
    sink = Claiming({}, {"next_offset": 4_000})
    async with serving(None, servicer=sink) as address, filled(f"sink={address}") as (process, _, state):
        await until(lambda: state.ahead is not None, process)
        seen = sink.calls
        ended = []
        await until(lambda: ended.append(state.ahead is None) or sink.calls > seen + 3, process)
        assert not any(ended)
        sink.claims = ({},)
        await until(lambda: state.connected and state.ahead is None, process)


async def test_uploads_stay_stopped_while_a_sink_that_was_beyond_the_log_claims_something_else(filled: Any, request_of: RequestOf) -> None:
    sink = Claiming({"next_offset": 4_000})
    async with serving(None, servicer=sink) as address, filled(f"sink={address}") as (process, stub, state):
        await until(lambda: state.ahead is not None, process)
        sink.claims = ({"next_offset": 400},)
        await until(lambda: "without the link" in state.last_error, process)
        with pytest.raises(grpc.aio.AioRpcError, match="SINK_AHEAD"):
            await stub.UploadLogs(iter([request_of("more")]))
        sink.claims = ({},)
        await until(lambda: state.ahead is None, process)
        assert (await stub.UploadLogs(iter([request_of("more")]))).accepted_count == 1


async def test_a_log_that_fell_back_and_grew_past_a_sink_deletes_nothing_on_its_word(
    running: Running, filled: Any, request_of: RequestOf, tmp_path: Path
) -> None:
    async with running(segment_bytes=2_000) as (process, stub):
        await upload(stub, request_of, 0, 4, 10)
    shutil.copytree(tmp_path / "wal", tmp_path / "copy")
    async with running(segment_bytes=2_000) as (process, stub):
        await upload(stub, request_of, 40, 36, 10, first_sequence=5)
        log_id, link = process.log.log_id, await link_in(process, 400)
    # the honest sink holds the old history up to 400; the log's files come back from a copy that ends at 40, and grow without the sink
    shutil.rmtree(tmp_path / "wal")
    (tmp_path / "copy").rename(tmp_path / "wal")
    (tmp_path / "DELIVERED").unlink()
    async with running(segment_bytes=2_000) as (process, stub):
        for batch in range(60):
            await upload(stub, request_of, 10_000 + batch * 10, 1, 10, first_sequence=5 + batch)
    sink = KeepsLink(log_id, [f"record {number}" for number in range(400)], link)
    sink.board.update(log_id, visible_end=400, releasable_end=400)
    async with serving(sink) as address, running(sinks=f"sink={address}", segment_bytes=2_000) as (process, stub):
        state = process.deliveries[0].state
        await until(lambda: "another history" in state.last_error, process)
        assert (len(sink.messages), await trimmed(process), alarm(process)) == (400, 0, 1)


async def test_a_directory_from_before_links_is_delivered_to_and_deletes_nothing_until_there_is_a_link(
    filled: Any, request_of: RequestOf, tmp_path: Path, logged: Callable[[], str]
) -> None:
    async with filled("") as (process, *_):
        log_id = process.log.log_id
    # as earlier versions left it
    (tmp_path / "DELIVERED").write_text(json.dumps({"log_id": f"{log_id:016x}", "offset": 200}).ljust(95) + "\n")
    sink = Keeps()
    sink.messages = [f"record {number}" for number in range(200)]
    sink.board.update(log_id, next_offset=200, visible_end=200, releasable_end=200)
    sink.room.clear()
    async with serving(sink) as address, filled(f"sink={address}") as (process, _, state):
        await until(lambda: state.connected, process)
        assert (state.progress.next_offset, await trimmed(process)) == (200, 0)
        sink.room.set()
        await until(lambda: state.progress.releasable_end_offset == 400, process)
        assert await trimmed(process) > 200
    assert sink.messages == [f"record {number}" for number in range(400)]
    assert "nothing is deleted until it does" in logged()
    assert json.loads((tmp_path / "DELIVERED").read_text())["unlinked_below"] == 400


async def test_a_sink_without_a_link_is_from_before_links_only_as_far_as_the_log_was_then(
    filled: Any, running: Running, request_of: RequestOf, tmp_path: Path
) -> None:
    async with filled("") as (process, *_):
        log_id = process.log.log_id
    (tmp_path / "DELIVERED").write_text(json.dumps({"log_id": f"{log_id:016x}", "offset": 200}))
    async with filled("") as (process, stub, *_):
        pass
    async with running(segment_bytes=2_000) as (process, stub):
        await upload(stub, request_of, 400, 1, 10, first_sequence=41)
    claim = {"next_offset": 410, "releasable_end_offset": 410}
    async with serving(None, servicer=Claiming(claim)) as address, filled(f"sink={address}") as (process, _, state):
        await until(lambda: "without the link" in state.last_error, process)
        assert await trimmed(process) == 0


@pytest.mark.parametrize("seed", range(30 if ALL else 6))
async def test_whatever_a_sink_claims_the_log_keeps_what_it_was_not_sent(
    filled: Any, request_of: RequestOf, seed: Callable[[range], int]
) -> None:
    liar = Lying(f"{SEED} {seed}")
    async with serving(None, servicer=liar) as address, filled(f"sink={address}") as (process, stub, _):
        await lied_to(process, stub, request_of, liar)


@pytest.mark.parametrize("seed", range(30 if ALL else 6))
async def test_whatever_a_sink_claims_another_one_gets_everything(filled: Any, request_of: RequestOf, seed: Callable[[range], int]) -> None:
    liar, honest = Lying(f"{SEED} {seed}"), Keeps()
    async with (
        serving(None, servicer=liar) as first,
        serving(honest) as second,
        filled(f"sink={first},honest={second}") as (process, stub, _),
    ):
        more = await lied_to(process, stub, request_of, liar)
        await until(lambda: len(honest.messages) == process.log.end_offset, process)
    assert honest.messages == [f"record {number}" for number in range(400)] + more


async def lied_to(process: Any, stub: Any, request_of: Callable[..., UploadLogsRequest], liar: Lying) -> list[str]:
    """Uploads beside a sink that lies: each upload is stored, or refused with SINK_AHEAD. Returns the messages that were stored."""
    stored = []
    process.deliveries[0]._silence_s = 0.05
    for number in range(12):
        begun = liar.claimed
        try:
            await stub.UploadLogs(iter([request_of(f"more {number}")]))
            stored.append(f"more {number}")
        except grpc.aio.AioRpcError as error:
            assert "SINK_AHEAD" in error.details()  # noqa: PT017 - either is right
        await until(lambda begun=begun: liar.claimed > begun + 2, process)
        assert await trimmed(process) <= max(liar.links, default=0)
    return stored


@given(st.data())
@settings(max_examples=1_000 if ALL else 300, deadline=None)
def test_no_more_is_believed_to_be_safe_than_what_the_sink_was_sent(data: st.DataObject) -> None:
    ends = [0, 10, 30, 31, 60]
    log = SimpleNamespace(log_id=LOG, durable_offset=60, start_offset=data.draw(st.sampled_from([0, 10])))
    got = {ends[data.draw(st.integers(0, 4))]}  # from earlier deliveries
    place = st.sampled_from([0, 9, 10, 11, 30, 31, 59, 60, 61, 2**63])
    claims, begun = Claims("sink", log, 0), False
    for _ in range(data.draw(st.integers(1, 8))):
        next_offset = data.draw(place)
        progress = SinkProgress(log_id=LOG, next_offset=next_offset, visible_end_offset=data.draw(place))
        progress.releasable_end_offset = data.draw(st.sampled_from([next_offset, data.draw(place)]))
        if (proof := data.draw(st.sampled_from([None, 7, *sorted(got)]))) is not None:
            progress.link = link_at(proof) if proof != 7 else 7
        try:
            if begun:
                believed = claims.believed(progress)
            else:
                claims.check_within(progress)
                believed = claims.begin(progress, link_at(next_offset) if next_offset in ends and next_offset > log.start_offset else None)
        except SinkAheadError:
            return
        assert believed.releasable_end_offset <= max(log.start_offset, *got)
        if not begun:
            sent = [end for end in ends if end > next_offset]
            begun = True
        if sent:
            claims.sending(sent[0], link_at(sent[0]))
            if data.draw(st.booleans()):
                got.add(sent.pop(0))
            else:
                sent.pop(0)


def test_one_sink_under_two_names_is_refused() -> None:
    with pytest.raises(ValueError, match="the address is there twice; name each sink once"):
        parse_sinks("query=127.0.0.1:4703,other=127.0.0.1:4703")
