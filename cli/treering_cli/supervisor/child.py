"""One service as a child process."""

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping

from treering_cli.problems import Refusal
from treering_cli.programs import python_module
from treering_cli.supervisor.log_file import LogFile

KILL_AFTER_S = 20.0
"""How long a child may take to drain, seconds, before it is killed: longer than the services' own drain of 10."""

ADDRESS_TAKEN = 3
"""Exit code of a service: something else listens at its address."""

DIRECTORY_IN_USE = 4
"""Exit code of a service: another process has its data directory."""

PREDECESSOR_MAY_TAKE_S = 15.0
"""How long its directory may be in use before that is final, seconds: services whose `treering up` was killed drain for 10."""

_REFUSALS = {1, 2, ADDRESS_TAKEN, DIRECTORY_IN_USE}
_FIRST_DELAY_S = 0.1
_SETTLED_S = 30.0
_MAX_LINE_BYTES = 1024 * 1024


class CannotStartError(Refusal):
    """A service refuses to start; `code` is its exit code."""

    def __init__(self, words: str, code: int) -> None:
        super().__init__(words)
        self.code = code


class Child:
    """A process that is started again, on the same port, whenever it ends by itself.

    States: *starting* (until its line `{"serving": ...}`), *serving*, *waiting* (ended; the delay grows while it keeps ending soon),
    *stopped* (told to). A process that refuses to start with a message, before it ever served, is not started again, unless its directory
    is in use: what is left of a killed `treering up` ends by itself soon.

    Args:
        name: ingest, embed or query.
        environment: Its settings.
        log: Takes its standard error.
        say: Told what happens, in words.
        longest_delay_s: Longest pause before it is started again, seconds.
    """

    def __init__(
        self, name: str, environment: Mapping[str, str], log: LogFile, say: Callable[[str], None], longest_delay_s: float = 10.0
    ) -> None:
        self.name = name
        self.pid = 0
        self._environment = environment
        self._log = log
        self._say = say
        self._longest_delay_s = longest_delay_s
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._has_served = False

    async def run(self, on_serving: Callable[[], None]) -> None:
        """Keeps it running until `stop`; calls `on_serving` each time it serves.

        Raises:
            CannotStartError: It cannot start.
        """
        delay_s = _FIRST_DELAY_S
        begun = time.monotonic()
        while not self._stopping.is_set():
            started = time.monotonic()
            code = await self._run_once(on_serving)
            if self._stopping.is_set():
                return
            predecessor = code == DIRECTORY_IN_USE and time.monotonic() - begun < PREDECESSOR_MAY_TAKE_S
            if code in _REFUSALS and not self._has_served and not predecessor:
                raise CannotStartError(f"{self.name} cannot start: {self._log.reason()}", code)
            settled = time.monotonic() - started > _SETTLED_S
            delay_s = min(self._longest_delay_s, _FIRST_DELAY_S if settled else delay_s * 2)
            why = self._log.reason() if predecessor else _how(code)
            self._say(f"{self.name} ended ({why}); starting it again in {delay_s:g} s, its log is {self._log.path}")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await self._stopping.wait()

    async def _run_once(self, on_serving: Callable[[], None]) -> int:
        self._log.forget()
        process = await asyncio.create_subprocess_exec(
            *python_module(f"treering_{self.name}"),
            env={**os.environ, **self._environment},
            stdin=asyncio.subprocess.PIPE,  # its end tells the child that we are gone, however we went
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_MAX_LINE_BYTES,
            start_new_session=True,  # Ctrl-C is for us: the children stop in their order
        )
        self._process, self.pid = process, process.pid
        if self._stopping.is_set():
            process.terminate()
        await asyncio.gather(self._read_answers(process, on_serving), self._read_log(process))
        return await process.wait()

    async def _read_answers(self, process: asyncio.subprocess.Process, on_serving: Callable[[], None]) -> None:
        assert process.stdout  # noqa: S101 - it is a pipe
        async for line in _lines(process.stdout):
            with contextlib.suppress(ValueError, TypeError):
                if "serving" in json.loads(line):
                    self._has_served = True
                    on_serving()

    async def _read_log(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr  # noqa: S101 - it is a pipe
        async for line in _lines(process.stderr):
            self._log.write(line)

    async def stop(self) -> None:
        """Ends it: SIGTERM, and SIGKILL when it has not ended after `KILL_AFTER_S` seconds."""
        self._stopping.set()
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(KILL_AFTER_S):
                await process.wait()
        except TimeoutError:
            self._say(f"{self.name} did not stop within {KILL_AFTER_S:g} s; killing it")
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The lines of a stream; one that is too long comes in pieces."""
    while True:
        try:
            line = await stream.readuntil()
        except asyncio.IncompleteReadError as end:
            line = end.partial
        except asyncio.LimitOverrunError as over:
            line = await stream.read(over.consumed)
        if not line:
            return
        yield line


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
