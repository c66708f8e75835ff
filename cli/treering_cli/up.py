"""`treering up`: the three services on this machine."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from treering_cli.escaping import to_json
from treering_cli.instance import DEFAULT_DATA_DIR, Instance, InstanceLock
from treering_cli.output import answer, note
from treering_cli.problems import Refusal

if TYPE_CHECKING:
    from treering_cli.supervisor import Options, Stack

_DRAWS = 5
_Port = Annotated[int, typer.Option(min=0, max=65535, help="0 is any free port.")]


def up(
    *,
    data_dir: Annotated[Path, typer.Option(envvar="TREERING_DATA_DIR", help="Everything is kept below this directory.")] = DEFAULT_DATA_DIR,
    ingest_port: _Port = 4701,
    embed_port: _Port = 4702,
    query_port: _Port = 4703,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show the services' logs here instead of keeping them in files.")] = False,
    max_restart_delay: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Longest pause before a service that keeps ending is started again.")
    ] = 10.0,
    json: Annotated[bool, typer.Option("--json", help="The ready line is JSON anyway.")] = False,
) -> None:
    """Run the three services on this machine until Ctrl-C; prints one JSON line when all of them serve."""
    del json
    try:
        from treering_cli.supervisor import Options  # noqa: PLC0415 - needs what the services need
    except ImportError as error:
        raise Refusal(f'the services are not installed ({error.name} is missing): pip install "treering[server]"') from error
    ports = {"ingest": ingest_port, "embed": embed_port, "query": query_port}
    lock = InstanceLock(data_dir)
    try:
        asyncio.run(_run(Options(data_dir, ports, verbose, max_restart_delay), lock))
    finally:
        lock.release()


async def _run(options: "Options", lock: InstanceLock) -> None:
    """Runs until a signal."""
    from treering_cli.supervisor.stack import PortTakenError, Stack  # noqa: PLC0415 - as in `up`

    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    for attempt in range(1, _DRAWS + 1):
        try:
            await _run_stack(Stack(options, _say), lock, stop)
        except PortTakenError as taken:
            if attempt == _DRAWS:
                raise Refusal(f"no free port could be kept for {taken}; name one with --{taken}-port") from taken
        else:
            return


def _say(text: str) -> None:
    with _whoever_reads(sys.stderr):
        note(text)


@contextlib.contextmanager
def _whoever_reads(stream: TextIO) -> Iterator[None]:
    """Goes on without a reader: a terminal that is closed, or a full disk below a redirected output, is no reason to end three services."""
    try:
        yield
    except OSError:
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - no file of anybody
            os.dup2(nowhere.fileno(), stream.fileno())  # what is buffered goes there, too


async def _run_stack(stack: "Stack", lock: InstanceLock, stop: asyncio.Event) -> None:
    settings = {name: value for each in stack.settings.values() for name, value in each.items()}

    def publish(*, ready: bool) -> None:
        lock.publish(Instance(pid=os.getpid(), ready=ready, **stack.addresses, inner=stack.inner, settings=settings))

    def on_ready() -> None:
        publish(ready=True)
        with _whoever_reads(sys.stdout):
            answer(to_json({"ready": True, **stack.addresses}))
            sys.stdout.flush()

    publish(ready=False)
    running = asyncio.create_task(stack.run(on_ready))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not running.done():
        _say("stopping")
        running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
