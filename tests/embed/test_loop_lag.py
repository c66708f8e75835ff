"""Every rpc with the widest request that is allowed, over 200,000 patterns: none keeps the loop for long."""

import asyncio
import gc
from contextlib import AsyncExitStack

import grpc
import numpy as np
import pytest
from embed_doubles import LOG_ID, WORDS, WordModels, running, settings_for

from tests.loop_watch import LoopThread, watched
from tests.stubs import together
from treering.inner.channels import connect
from treering.v1 import admin_pb2
from treering.v1 import embed_pb2 as pb
from treering.v1.admin_pb2_grpc import EmbedAdminServiceStub
from treering.v1.embed_pb2_grpc import EmbedServiceStub
from treering.v1.log_pb2 import Position
from treering_embed import limits
from treering_embed.application import REGISTRY_FILE
from treering_embed.engine.choice import complete
from treering_embed.index import EVERYTHING, IndexHits
from treering_embed.indexing import meaning as meaning_module
from treering_embed.registry.ledgers import CurrentLedger
from treering_embed.registry.notes import IndexNote
from treering_embed.registry.registry import RegisteredPattern, Registry
from treering_runtime.limits import MAX_MESSAGE_BYTES, MAX_QUERY_TEXT_CHARACTERS

PATTERNS = 200_000
MOST_CPU_S = 0.05
"""Of one callback: health checks and short deadlines bear several of these in a row."""

IDS = np.random.default_rng(1).permutation(np.arange(1, PATTERNS + 1, dtype=np.uint64) * np.uint64(2**40))
_OPTIONS = [("grpc.max_receive_message_length", MAX_MESSAGE_BYTES), ("grpc.max_send_message_length", MAX_MESSAGE_BYTES)]


class FullIndex:
    """An index that holds every pattern and takes no time to say so: what is measured is the service around it."""

    kind = "edge"

    def all_ids(self):
        return IDS

    def nearest(self, dense, limit, selection=EVERYTHING):
        chosen = IDS if selection.pattern_ids is None else np.fromiter(selection.pattern_ids, np.uint64)
        return IndexHits(chosen[:limit], np.linspace(1, 0, len(chosen), dtype=np.float32)[:limit])

    def late(self, tokens, pattern_ids):
        chosen = np.fromiter(pattern_ids, np.uint64)
        return IndexHits(chosen, np.ones(len(chosen), np.float32))

    def delete(self, pattern_ids):
        pass

    def flush(self):
        pass

    def expose(self):
        pass

    def close(self):
        pass


def _fill(settings) -> None:
    model = asyncio.run(WordModels().prepare(settings.model))
    registry = Registry(settings.data_dir / REGISTRY_FILE)
    patterns = [RegisteredPattern(key, f"svc{key % 50}", "a text", "an example", LOG_ID, row) for row, key in enumerate(IDS.tolist())]
    registry.commit({LOG_ID: PATTERNS}, patterns, {}, [], day=0, now=0, mask_version=1)
    CurrentLedger(registry.db).begin(complete(IndexNote(settings.model, settings.model, 1), model))
    CurrentLedger(registry.db).mark(dict.fromkeys(IDS.tolist(), ""), b"")
    registry.close()


@pytest.fixture(scope="module")
def crowded(tmp_path_factory):
    """What stands for the service: its stub, what watches its loop, and what the start cost."""
    settings = settings_for(tmp_path_factory.mktemp("crowded"))
    _fill(settings)
    thread, life = LoopThread(), AsyncExitStack()
    with pytest.MonkeyPatch.context() as patch, watched(thread.loop) as watch:
        patch.setattr(meaning_module, "open_index", lambda *_: FullIndex())
        service = thread.run(life.enter_async_context(running(settings, WordModels())))
        # A full collection takes as long as all objects of the test process together, and falls into any callback.
        gc.disable()
        with connect(service.application.planes.inner.address, options=_OPTIONS) as channel:
            yield together(channel, EmbedServiceStub, EmbedAdminServiceStub), watch
        gc.enable()
        thread.run(life.aclose())
    thread.close()


def _texts(count: int) -> list[str]:
    """As long as they may be, of distinct words."""
    return [" ".join(f"word{number}x{word % WORDS}" for word in range(500))[:MAX_QUERY_TEXT_CHARACTERS] for number in range(count)]


REQUESTS = {
    "SearchPatterns": pb.SearchPatternsRequest(text="which", limit=limits.MAX_SEARCH_LIMIT),
    "SearchPatterns-each-pattern": pb.SearchPatternsRequest(
        text="which",
        limit=limits.MAX_SEARCH_LIMIT,
        restrict_to=pb.PatternIdSet(pattern_ids=IDS.tolist()),
        also_score_ids=IDS[-limits.MAX_ALSO_SCORE :].tolist(),
        services=[f"svc{number}" for number in range(limits.MAX_SERVICES)],
    ),
    "ScorePatterns": admin_pb2.ScorePatternsRequest(texts=_texts(limits.MAX_SCORE_TEXTS)),
    "EmbedTexts": pb.EmbedTextsRequest(texts=_texts(limits.MAX_EMBED_TEXTS)),
    "GetEmbedStatus": pb.GetEmbedStatusRequest(),
    "DigestIndex": admin_pb2.DigestIndexRequest(),
    "ForgetPatterns": admin_pb2.ForgetPatternsRequest(
        pattern_ids=IDS[: limits.MAX_FORGET].tolist(), below=[Position(log_id=LOG_ID, offset=PATTERNS)]
    ),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_no_rpc_keeps_the_loop_for_long(crowded, name):
    stub, watch = crowded
    watch.clear()
    answer = getattr(stub, name.partition("-")[0])(REQUESTS[name], timeout=120)
    if isinstance(answer, grpc.Call):
        assert list(answer)
    assert watch.cpu_s < MOST_CPU_S, (watch.cpu_s, watch.what)
