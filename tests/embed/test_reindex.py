"""Everything is embedded anew while searches go on; a change of the setting does the same."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.embed.embed_doubles import LOG_ID, Running, WordEncoder, WordModels, frame, reason, running, settings_for
from treering.v1 import admin_pb2
from treering.v1 import embed_pb2 as pb
from treering.v1.log_pb2 import Position
from treering_embed.encoder import Encoded
from treering_embed.encoder.prepare import PreparedModel
from treering_embed.index import IndexFaultError, PatternPoint
from treering_embed.index.edge import EdgeIndex
from treering_embed.registry.ledgers import CurrentLedger, SuccessorLedger
from treering_embed.registry.registry import Registry
from treering_embed.settings import EmbedSettings
from treering_runtime.patterns import pattern_id

MESSAGES = [f"{word} {deed}" for word in ("payment", "disk", "user", "cable", "order") for deed in ("lost", "found", "late", "early")]
DEFAULT = "all-MiniLM-L6-v2"


async def status(service: Running) -> pb.GetEmbedStatusResponse:
    return await service.embed.GetEmbedStatus(pb.GetEmbedStatusRequest())


async def ended(service: Running) -> pb.GetEmbedStatusResponse:
    """The status once no reindex runs any more."""
    async with asyncio.timeout(30):
        while (found := await status(service)).reindex.phase not in (pb.REINDEX_PHASE_DONE, pb.REINDEX_PHASE_FAILED):
            pass
        return found


async def found(service: Running, text: str = "disk found", limit: int = 100) -> set[int]:
    response = await service.embed.SearchPatterns(pb.SearchPatternsRequest(text=text, limit=limit))
    return {hit.pattern_id for hit in response.scores}


def ids(messages: list[Any] | list[str] = MESSAGES) -> set[int]:
    return {pattern_id("shop/checkout", message) for message in messages}


def directories(settings: EmbedSettings) -> list[str]:
    return sorted(path.name for path in (settings.data_dir / "index").iterdir())


class Held:
    """Holds back one model after its first runs, until it is let go."""

    def __init__(self, models: WordModels, model: str, after: int = 1) -> None:
        self.reached = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._go: asyncio.Future[None] = self._loop.create_future()
        self._left = after
        encoder = models.encoders.setdefault(model, WordEncoder(models.dimensions.get(model, 48)))
        self._encode = encoder.encode
        encoder.encode = self._run

    def _run(self, texts: list[str]) -> Encoded:
        self._left -= 1
        if self._left < 0 and not self._go.done():
            self._loop.call_soon_threadsafe(self.reached.set)
            asyncio.run_coroutine_threadsafe(self._wait(), self._loop).result()
        return self._encode(texts)

    async def _wait(self) -> None:
        await asyncio.shield(self._go)

    def let_go(self) -> None:
        if not self._go.done():
            self._go.set_result(None)


@pytest.fixture
def models() -> WordModels:
    return WordModels(dimensions={"wide": 96, "narrow": 16})


@pytest.mark.parametrize("model", ["", "wide", "narrow"])
async def test_everything_is_embedded_anew_and_the_old_index_is_removed(settings: EmbedSettings, models: WordModels, model: str) -> None:
    async with running(settings, models) as service:
        await service.deliver([frame(0, MESSAGES)])
        before = directories(settings)
        await service.admin.StartReindex(admin_pb2.StartReindexRequest(model=model))
        after = await ended(service)
        assert after.reindex.phase == pb.REINDEX_PHASE_DONE
        assert (after.model, after.configured_model) == (model or DEFAULT, DEFAULT)
        assert (after.reindex.done_count, after.reindex.total_count) == (len(MESSAGES), len(MESSAGES))
        assert await found(service) == ids()
        await service.deliver([frame(len(MESSAGES), ["something new"])])
        assert await found(service) == ids() | ids(["something new"])
        vectors = await service.embed.EmbedTexts(pb.EmbedTextsRequest(texts=["x"]))
        assert len(vectors.embeddings[0].values) == models.dimensions.get(model, 48)
        assert len(directories(settings)) == 1
        assert directories(settings) != before
        assert models.kept == {f"of {model or DEFAULT}"}


async def test_searches_are_answered_by_the_old_index_all_the_while_and_new_patterns_are_in_both(
    settings: EmbedSettings, models: WordModels
) -> None:
    async with running(settings, models) as service:
        await service.deliver([frame(0, MESSAGES)])
        held = Held(models, "wide")
        await service.admin.StartReindex(admin_pb2.StartReindexRequest(model="wide"))
        await held.reached.wait()
        during = await status(service)
        assert (during.model, during.reindex.model, during.reindex.phase) == (DEFAULT, "wide", pb.REINDEX_PHASE_EMBEDDING)
        assert await found(service) == ids()
        await service.deliver([frame(len(MESSAGES), ["arrived meanwhile"])])
        assert await found(service) == ids() | ids(["arrived meanwhile"])
        gone = pattern_id("shop/checkout", MESSAGES[0])
        forget = admin_pb2.ForgetPatternsRequest(pattern_ids=[gone], below=[Position(log_id=LOG_ID, offset=100)])
        assert (await service.admin.ForgetPatterns(forget)).forgotten_count == 1
        held.let_go()
        assert (await ended(service)).model == "wide"
        assert await found(service) == ids() - {gone} | ids(["arrived meanwhile"])
        digest = [part async for part in service.admin.DigestIndex(admin_pb2.DigestIndexRequest())]
        assert not any(part.missing_ids or part.unknown_ids or part.pending_ids for part in digest)


async def test_a_second_one_is_refused_while_one_runs(settings: EmbedSettings, models: WordModels) -> None:
    async with running(settings, models) as service:
        await service.deliver([frame(0, MESSAGES)])
        held = Held(models, "wide", after=0)
        await service.admin.StartReindex(admin_pb2.StartReindexRequest(model="wide"))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await service.admin.StartReindex(admin_pb2.StartReindexRequest(model="narrow"))
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert (reason(refused.value).reason, reason(refused.value).metadata["model"]) == ("REINDEX_RUNNING", "wide")
        held.let_go()
        assert (await ended(service)).model == "wide"


@pytest.mark.parametrize("model", ["other", "/", "/etc", "~root", "a/b", " wide", "wide,narrow", "WIDE", "x" * 255])
async def test_a_model_that_the_operator_did_not_list_is_refused_and_nothing_is_told_of_it(
    settings: EmbedSettings, models: WordModels, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    async with running(settings, models) as service:
        monkeypatch.setattr(models, "identify", None)  # nobody looks for it
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await service.admin.StartReindex(admin_pb2.StartReindexRequest(model=model))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert reason(refused.value).metadata["field"] == "model"
        assert refused.value.details() == "model: not among the models; the setting MODELS of embed lists them"
        assert (await status(service)).reindex.phase == pb.REINDEX_PHASE_IDLE


async def test_a_model_that_is_taken_off_the_list_answers_until_the_one_of_the_settings_does(tmp_path: Path, models: WordModels) -> None:
    path = tmp_path / "embed"
    async with running(settings_for(path), models) as service:
        await service.deliver([frame(0, MESSAGES)])
        await service.admin.StartReindex(admin_pb2.StartReindexRequest(model="wide"))
        await ended(service)
    held = Held(models, DEFAULT, after=0)
    async with running(settings_for(path, models="narrow"), models) as service:
        await held.reached.wait()
        assert (await status(service)).model == "wide"
        held.let_go()
        assert (await ended(service)).model == DEFAULT
        assert await found(service) == ids()


async def test_a_reindex_with_a_model_that_is_taken_off_the_list_is_not_gone_on_with(tmp_path: Path, models: WordModels) -> None:
    path = tmp_path / "embed"
    async with running(settings_for(path), models) as service:
        await service.deliver([frame(0, MESSAGES)])
        held = Held(models, "wide", after=0)
        await service.admin.StartReindex(admin_pb2.StartReindexRequest(model="wide"))
        await held.reached.wait()
        asyncio.get_running_loop().call_later(0.1, held.let_go)
    async with running(settings_for(path, models=""), models) as service:
        after = await status(service)
        assert (after.model, after.reindex.phase) == (DEFAULT, pb.REINDEX_PHASE_IDLE)
        assert await found(service) == ids()


async def test_a_listed_model_that_is_not_there_is_refused_and_changes_nothing(tmp_path: Path, models: WordModels) -> None:
    models.gone.add("/no/such/model")
    async with running(settings_for(tmp_path / "embed", models="/no/such/model"), models) as service:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await service.admin.StartReindex(admin_pb2.StartReindexRequest(model="/no/such/model"))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert reason(refused.value).metadata["field"] == "model"
        assert (await status(service)).reindex.phase == pb.REINDEX_PHASE_IDLE


async def test_a_model_that_cannot_be_loaded_is_given_up_and_the_old_index_stays(
    settings: EmbedSettings, models: WordModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = models.prepare

    async def broken(model: Any) -> PreparedModel:
        if model == "wide":
            raise RuntimeError("unsupported operation")
        return await prepare(model)

    monkeypatch.setattr(models, "prepare", broken)
    async with running(settings, models) as service:
        await service.deliver([frame(0, MESSAGES)])
        await service.admin.StartReindex(admin_pb2.StartReindexRequest(model="wide"))
        after = await ended(service)
        assert after.reindex.phase == pb.REINDEX_PHASE_FAILED
        assert "unsupported operation" in after.reindex.problem
        assert after.model == DEFAULT
        assert await found(service) == ids()
    async with running(settings, models) as service:
        assert (await status(service)).reindex.phase == pb.REINDEX_PHASE_IDLE


async def test_one_that_was_stopped_in_the_middle_is_gone_on_with(settings: EmbedSettings, models: WordModels) -> None:
    async with running(settings, models) as service:
        await service.deliver([frame(0, [f"worker {'x' * n} stopped" for n in range(1, 200)])])
        held = Held(models, "wide", after=20)
        await service.admin.StartReindex(admin_pb2.StartReindexRequest(model="wide"))
        await held.reached.wait()
        asyncio.get_running_loop().call_later(0.1, held.let_go)
    models.encoders.pop("wide")
    async with running(settings, models) as service:
        after = await ended(service)
        assert (after.model, after.reindex.done_count) == ("wide", 199)
        assert len(await found(service, limit=1000)) == 199
        assert len(directories(settings)) == 1


async def test_the_chosen_model_survives_a_restart_until_the_setting_is_changed(tmp_path: Path, models: WordModels) -> None:
    path = tmp_path / "embed"
    async with running(settings_for(path), models) as service:
        await service.deliver([frame(0, MESSAGES)])
        await service.admin.StartReindex(admin_pb2.StartReindexRequest(model="wide"))
        await ended(service)
    async with running(settings_for(path), models) as service:
        assert ((await status(service)).model, (await status(service)).reindex.phase) == ("wide", pb.REINDEX_PHASE_IDLE)
    async with running(settings_for(path, model="narrow"), models) as service:
        assert (await ended(service)).model == "narrow"
        assert await found(service) == ids()
    async with running(settings_for(path, model="narrow"), models) as service:
        assert ((await status(service)).model, (await status(service)).reindex.phase) == ("narrow", pb.REINDEX_PHASE_IDLE)


async def test_another_model_in_the_settings_is_served_by_the_old_index_until_the_new_one_is_there(
    tmp_path: Path, models: WordModels
) -> None:
    path = tmp_path / "embed"
    async with running(settings_for(path), models) as service:
        await service.deliver([frame(0, MESSAGES)])
    held = Held(models, "wide")
    async with running(settings_for(path, model="wide"), models) as service:
        await held.reached.wait()
        during = await status(service)
        assert (during.model, during.configured_model, during.pending_count) == (DEFAULT, "wide", 0)
        assert await found(service) == ids()
        held.let_go()
        assert (await ended(service)).model == "wide"
        assert await found(service) == ids()


async def test_an_index_whose_model_is_lost_is_said_to_be_missing_until_all_is_embedded_anew(tmp_path: Path, models: WordModels) -> None:
    path = tmp_path / "embed"
    async with running(settings_for(path), models) as service:
        await service.deliver([frame(0, MESSAGES)])
    models.gone.add(DEFAULT)
    held = Held(models, "wide", after=0)
    async with running(settings_for(path, model="wide"), models) as service:
        await held.reached.wait()
        during = await status(service)
        assert (during.model, during.pending_count) == ("wide", len(MESSAGES))
        assert DEFAULT in during.problem
        held.let_go()
        await service.deliver([frame(0, MESSAGES)])
        assert (await status(service)).problem == ""
        assert await found(service) == ids()


async def test_a_crash_at_the_swap_leaves_the_old_or_the_new(
    settings: EmbedSettings, models: WordModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The registry's transaction is the swap; what comes after it is made up for by the next start."""
    monkeypatch.setattr("treering_embed.indexing.reindexing.Reindexer._tidy", _nothing)
    async with running(settings, models) as service:
        await service.deliver([frame(0, MESSAGES)])
        await service.admin.StartReindex(admin_pb2.StartReindexRequest(model="wide"))
        await ended(service)
    assert len(directories(settings)) == 2
    monkeypatch.undo()
    async with running(settings, models) as service:
        assert await found(service) == ids()
        registry = Registry(settings.data_dir / "registry.sqlite")
        async with asyncio.timeout(30):
            while len(directories(settings)) > 1 or CurrentLedger(registry.db).dropped():
                await status(service)
        assert SuccessorLedger(registry.db).note() is None
        registry.close()


async def _nothing(*_: object) -> None:
    """In place of a method that a crash keeps from running."""


async def test_faults_of_the_new_index_hold_up_neither_searches_nor_new_patterns(
    settings: EmbedSettings, models: WordModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("treering_embed.indexing.reindexing.RETRY_MIN_S", 0.01)
    async with running(settings, models) as service:
        await service.deliver([frame(0, MESSAGES)])
        upsert, failures = EdgeIndex.upsert, iter([True] * 3)

        def failing(self: EdgeIndex, points: Sequence[PatternPoint]) -> None:
            if len(points[0].dense) == 96 and next(failures, False):
                raise IndexFaultError("no space")
            upsert(self, points)

        monkeypatch.setattr(EdgeIndex, "upsert", failing)
        await service.admin.StartReindex(admin_pb2.StartReindexRequest(model="wide"))
        await service.deliver([frame(len(MESSAGES), ["arrived meanwhile"])])
        after = await ended(service)
        assert (after.model, after.reindex.problem) == ("wide", "")
        assert next(failures, "used up") == "used up"
        assert await found(service) == ids() | ids(["arrived meanwhile"])
