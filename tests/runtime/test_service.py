"""What every service does at its start and at its end."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from prometheus_client import CollectorRegistry
from pydantic_settings import SettingsConfigDict

from treering_runtime.data_dir import DataDir
from treering_runtime.errors import DirectoryInUseError, StartError, StopError
from treering_runtime.planes import InnerPlane, Planes
from treering_runtime.service import main
from treering_runtime.settings import ServiceSettings


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="TREERING_SAMPLE_")
    service = "sample"
    listen: str = "127.0.0.1:0"
    metrics_listen: str = "127.0.0.1:0"


class Sample:
    """Notes what is asked of it; `fails` is the step that fails, and how."""

    made: "list[Sample]"

    def __init__(self, settings: Settings, registry: CollectorRegistry, fails: dict[str, Exception]) -> None:
        self.settings, self._fails, self.steps = settings, fails, []
        self.planes = Planes(settings, InnerPlane(settings), registry, {"public": [], "private": []})

    async def start(self) -> None:
        self._step("start")
        await self.planes.start()

    async def run(self) -> None:
        self._step("run")
        if not self._fails:
            os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

    async def stop(self, grace_s: float) -> None:
        self._step(f"stop {grace_s:g}")
        await self.planes.stop(0)

    def _step(self, step: str) -> None:
        self.steps.append(step)
        if step in self._fails:
            raise self._fails[step]


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[int, Sample]]]:
    """Runs a service whose steps may fail; gives its exit code and the service."""
    monkeypatch.setenv("TREERING_SAMPLE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("TREERING_SAMPLE_DRAIN_SECONDS", "3")
    services, logging = [], structlog.get_config()

    def run(**fails: Exception) -> tuple[int, Sample]:
        def make(settings: Settings, registry: CollectorRegistry) -> Sample:
            services.append(sample := Sample(settings, registry, fails))
            return sample

        return main(Settings, make), services[-1] if services else None  # type: ignore[return-value]

    yield run
    # A service sends what is logged to its standard error; tests that come after look for theirs elsewhere.
    structlog.configure(**logging)
    structlog.contextvars.clear_contextvars()


def free(path: Path) -> None:
    """The directory is nobody's."""
    DataDir(path, "treering-sample", 1).close()


def test_a_service_that_is_signalled_is_stopped_once_and_leaves_its_directory(
    ran: Callable[..., tuple[int, Sample]], tmp_path: Path
) -> None:
    code, service = ran()
    assert (code, service.steps) == (0, ["start", "run", "stop 3"])
    assert service.settings.data_dir == tmp_path / "data"
    free(tmp_path / "data")


def test_one_that_cannot_start_is_not_stopped_and_says_why(
    ran: Callable[..., tuple[int, Sample]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, service = ran(start=StartError("the model is not there; get it"))
    assert (code, service.steps) == (1, ["start"])
    assert "treering sample: the model is not there; get it" in capsys.readouterr().err
    free(tmp_path / "data")


@pytest.mark.parametrize("error", [StopError("the disk failed"), StartError("the model cannot be used")])
def test_one_that_cannot_go_on_is_stopped_and_says_why(
    ran: Callable[..., tuple[int, Sample]], tmp_path: Path, capsys: pytest.CaptureFixture[str], error: StopError | StartError
) -> None:
    code, service = ran(run=error)
    assert (code, service.steps) == (1, ["start", "run", "stop 3"])
    assert f"treering sample: {error}" in capsys.readouterr().err
    free(tmp_path / "data")


def test_settings_that_are_wrong_end_it_before_anything_is_made(
    ran: Callable[..., tuple[int, Sample]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TREERING_SAMPLE_DRAIN_SECONDS", "soon")
    assert ran() == (1, None)
    assert "TREERING_SAMPLE_DRAIN_SECONDS" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_a_directory_that_another_process_has_is_told_by_the_exit_code(ran: Callable[..., tuple[int, Sample]], tmp_path: Path) -> None:
    held = DataDir(tmp_path / "data", "treering-sample", 1)
    try:
        assert ran() == (DirectoryInUseError.exit_code, None)
    finally:
        held.close()
