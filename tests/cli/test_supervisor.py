import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.patience import PATIENCE_S
from treering_cli.problems import Refusal
from treering_cli.supervisor import child as child_module
from treering_cli.supervisor import log_file
from treering_cli.supervisor.child import ADDRESS_TAKEN, DIRECTORY_IN_USE, CannotStartError, Child
from treering_cli.supervisor.log_file import LogFile
from treering_cli.supervisor.ports import free_ports
from treering_cli.supervisor.stack import SERVICES, Options, PortTakenError, Stack
from treering_runtime.errors import AddressTakenError, DirectoryInUseError
from treering_runtime.server import Server

SERVES = """
import signal, sys
print('{"serving": "sample"}', flush=True)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
sys.stdin.read()
"""
REFUSES = """
import sys
sys.stderr.write('{"event": "json log"}\\ntreering sample: the port is in use\\n')
sys.exit(1)
"""
DIES = "import os; os.kill(os.getpid(), 9)"


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str | Path], Child]]:
    said, logs = [], []
    monkeypatch.setattr(child_module, "_FIRST_DELAY_S", 0.001)

    def made(code: str | Path) -> Child:
        (tmp_path / "treering_sample.py").write_text(code)
        log = LogFile(tmp_path / "logs" / "sample.log", verbose=False)
        logs.append(log)
        made.said = said
        return Child("sample", {"PYTHONPATH": str(tmp_path)}, log, said.append)

    yield made
    for log in logs:
        log.close()


async def running(child: Any) -> tuple[asyncio.Task[Any], asyncio.Event]:
    """Runs a child; gives the task, and an event that is set whenever the child serves."""
    serves = asyncio.Event()
    return asyncio.create_task(child.run(serves.set)), serves


async def test_killed_child_is_started_again_and_stopped_for_good(make: Callable[[str | Path], Child]) -> None:
    child = make(SERVES)
    task, serves = await running(child)
    async with asyncio.timeout(30):
        await serves.wait()
        first = child.pid
        serves.clear()
        os.kill(first, signal.SIGKILL)
        await serves.wait()
        assert child.pid != first
        await child.stop()
        await task
    assert ["signal 9" in words for words in make.said] == [True]


async def test_child_that_refuses_to_start_gives_its_reason(make: Callable[[str | Path], Child]) -> None:
    task, _ = await running(make(REFUSES))
    with pytest.raises(Refusal, match=r"sample cannot start: treering sample: the port is in use$"):
        await asyncio.wait_for(task, PATIENCE_S)


async def test_no_module_of_the_current_directory_is_run(
    make: Callable[[str | Path], Child], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here" / "json").mkdir(parents=True)
    (tmp_path / "here" / "json" / "__init__.py").write_text("raise SystemExit('not ours')")
    monkeypatch.chdir(tmp_path / "here")
    task, _ = await running(make("import json, sys\nsys.exit('this is ours')"))
    with pytest.raises(Refusal, match=r"sample cannot start: this is ours$"):
        await asyncio.wait_for(task, PATIENCE_S)


async def test_child_that_keeps_dying_is_started_with_growing_delays(make: Callable[[str | Path], Child]) -> None:
    child = make(DIES)

    def say(words: Any) -> None:
        make.said.append(words)
        if len(make.said) == 4:
            child._stopping.set()

    child._say = say
    task, _ = await running(child)
    async with asyncio.timeout(30):
        await task
    assert len(make.said) == 4
    assert ["0.002 s" in make.said[0], "0.004 s" in make.said[1], "0.008 s" in make.said[2]] == [True, True, True]


async def test_child_ends_with_the_pipe_on_its_standard_input(make: Callable[[str | Path], Child]) -> None:
    child = make(SERVES)
    task, serves = await running(child)
    async with asyncio.timeout(30):
        await serves.wait()
        child._stopping.set()
        child._process.stdin.close()
        await task


def test_log_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_file, "MAX_LOG_BYTES", 1_000)
    log = LogFile(tmp_path / "a.log", verbose=False)
    for number in range(500):
        log.write(b"line %d\n" % number)
    log.close()
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 2_000
    assert (tmp_path / "a.log").read_bytes().endswith(b"line 499\n")


def test_a_log_without_room_costs_lines_and_goes_on_when_there_is_some(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "a.log", verbose=False)
    with Path("/dev/full").open("ab", buffering=0) as full:
        own, log._file = log._file, full
        log.write(b"lost\n")
        log._file = own
    log.write(b"kept\n")
    assert (log.reason(), (tmp_path / "a.log").read_bytes()) == ("lost\nkept", b"kept\n")
    log.close()


def test_a_log_that_cannot_begin_a_file_goes_on_with_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_file, "MAX_LOG_BYTES", 10)
    log = LogFile(tmp_path / "a.log", verbose=False)
    log.write(b"line one\n")
    (tmp_path / "a.log.1").mkdir()
    for number in range(3):
        log.write(b"line %d\n" % number)
    (tmp_path / "a.log.1").rmdir()
    log.write(b"line two\n")
    log.close()
    assert ((tmp_path / "a.log.1").read_bytes(), (tmp_path / "a.log").read_bytes()) == (b"line one\n", b"line two\n")


def test_free_ports_differ() -> None:
    assert len(set(free_ports(20))) == 20


def test_stack_tells_each_service_where_everything_is(tmp_path: Path) -> None:
    stack = Stack(Options(tmp_path, {"ingest": 0, "embed": 4702, "query": 0}), print)
    assert stack.addresses["embed"] == "127.0.0.1:4702"
    assert stack.settings["embed"]["TREERING_EMBED_METRICS_LISTEN"] == "127.0.0.1:4712"
    sinks = f"embed=unix:{tmp_path}/embed/inner/s,query=unix:{tmp_path}/query/inner/s"
    assert stack.settings["ingest"]["TREERING_INGEST_SINKS"] == sinks
    assert stack.settings["query"]["TREERING_QUERY_EMBED_ADDRESS"] == stack.inner["embed"] == f"unix:{tmp_path}/embed/inner/s"
    assert stack.settings["query"]["TREERING_QUERY_DATA_DIR"] == str(tmp_path / "query")
    for log in stack._logs.values():
        log.close()


def test_command_line_starts_without_grpc() -> None:
    code = "import sys, treering_cli.app; print([name for name in ('grpc', 'pyarrow', 'google.protobuf') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


WAITS_FOR_ITS_DIRECTORY = """
import sys
from pathlib import Path
held = Path("held")
if held.exists():
    held.write_text(held.read_text()[1:])
    if not held.read_text():
        held.unlink()
    sys.stderr.write('treering sample: data is in use by another process\\n')
    sys.exit(4)
print('{"serving": "sample"}', flush=True)
sys.stdin.read()
"""


async def test_what_a_killed_up_left_running_is_waited_for(
    make: Callable[[str | Path], Child], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "held").write_text("xxx")
    child = make(WAITS_FOR_ITS_DIRECTORY)
    task, serves = await running(child)
    async with asyncio.timeout(PATIENCE_S):
        await serves.wait()
        await child.stop()
        await task
    assert ["data is in use by another process" in words for words in make.said] == [True] * 3


async def test_a_directory_that_stays_in_use_is_the_reason_that_is_given(
    make: Callable[[str | Path], Child], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(child_module, "PREDECESSOR_MAY_TAKE_S", 0.0)
    (tmp_path / "held").write_text("x" * 1_000)
    task, _ = await running(make(WAITS_FOR_ITS_DIRECTORY))
    with pytest.raises(CannotStartError, match="sample cannot start: treering sample: data is in use by another process") as caught:
        await asyncio.wait_for(task, PATIENCE_S)
    assert caught.value.code == DIRECTORY_IN_USE


@pytest.mark.parametrize(("code", "error"), [(ADDRESS_TAKEN, PortTakenError), (DIRECTORY_IN_USE, CannotStartError), (1, CannotStartError)])
async def test_only_a_taken_port_is_drawn_again_whatever_the_words_are(
    tmp_path: Path, code: int, error: type[PortTakenError] | type[CannotStartError]
) -> None:
    stack = Stack(Options(tmp_path, dict.fromkeys(SERVICES, 0)), print)

    async def refuse(_: object) -> None:
        raise CannotStartError("embed cannot start: it is in use", code)

    stack.children["embed"].run = refuse
    with pytest.raises(error):
        await stack._keep("embed")
    for log in stack._logs.values():
        log.close()


@pytest.mark.parametrize("has_index", [True, False])
async def test_up_is_ready_without_an_index_and_says_what_is_missing(tmp_path: Path, has_index: bool) -> None:
    said = []
    stack = Stack(Options(tmp_path, dict.fromkeys(SERVICES, 0)), said.append)
    servers = {name: Server("127.0.0.1:0", [f"treering.v1.{name.capitalize()}Service"], CollectorRegistry()) for name in SERVICES}
    for name, server in servers.items():
        await server.start()
        stack.addresses[name] = server.address
    await servers["embed"].set_ready("treering.v1.EmbedService", ready=has_index)
    await asyncio.wait_for(stack._announce(lambda: said.append("ready")), PATIENCE_S)
    assert said[0] == "ready"
    assert said[1:] == ([] if has_index else [said[-1]])
    assert has_index or "nothing is found by meaning yet" in said[-1]
    for each in (*servers.values(), *stack._logs.values()):
        await each.stop(0) if isinstance(each, Server) else each.close()


def test_exit_codes_are_those_of_the_services() -> None:
    codes = AddressTakenError.exit_code, DirectoryInUseError.exit_code
    assert codes == (ADDRESS_TAKEN, DIRECTORY_IN_USE)
