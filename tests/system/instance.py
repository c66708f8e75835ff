"""The three services, each started and stopped by itself, on ports that stay."""

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

from tests.crash.services import free_ports
from treering import Client, Endpoints
from treering.inner import SOCKET, socket_address

from .conftest import START_S, cli, environment

DOUBLE = Path(__file__).parent / "dislikes.py"


class Service:
    """One service on a port of its own, started as it is or with a fault."""

    def __init__(self, name: str, directory: Path | str, port: int, log: Path, **settings: str) -> None:
        self.address = f"127.0.0.1:{port}"
        self.name, self.inner = name, socket_address(Path(directory) / SOCKET)
        self._name, self._log = name, log
        prefix = f"TREERING_{name.upper()}_"
        chosen = {"LISTEN": self.address, "METRICS_LISTEN": "127.0.0.1:0", "DATA_DIR": str(directory)} | settings
        self._environment = environment(**{prefix + key: value for key, value in chosen.items()})
        self.process = None
        self.launcher = ["-m"]
        """What runs the module, where that is no double with a fault."""

    async def start(self, *fault: Any) -> bool:
        """Starts it; returns whether it came to serve. With a word and a manner it is a double with a fault, see `dislikes.py`."""
        module = f"treering_{self._name}"
        command = [str(DOUBLE), module, *fault] if fault else [*self.launcher, module]
        with self._log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, *command, env=self._environment, stdout=asyncio.subprocess.PIPE, stderr=log
            )
        async with asyncio.timeout(START_S):
            if await self.process.stdout.readline():
                return True
        sys.stderr.write(f"{self._name} did not come to serve: {self._log.read_text()[-2_000:]}\n")  # shown where a test expected it to
        return False

    def last_line(self) -> str:
        """The last line of its log."""
        return self._log.read_text().rstrip().rpartition("\n")[2]

    async def stop(self) -> Any:
        """Stops it as a supervisor would."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(START_S):
            return await self.process.wait()

    async def end(self) -> None:
        """Makes sure that nothing is left."""
        if self.process and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


class Instance:
    """The three services below one directory."""

    def __init__(
        self,
        directory: Path,
        log_directory: Path | str | None = None,
        query_directory: Path | str | None = None,
        query: dict[Any, Any] | None = None,
        **settings: str,
    ) -> None:
        ports = free_ports(3)
        self.endpoints = Endpoints(*(f"127.0.0.1:{port}" for port in ports))
        self.embed = Service("embed", directory / "embed", ports[1], directory / "embed.log")
        place = query_directory or directory / "query"
        self.query = Service("query", place, ports[2], directory / "query.log", EMBED_ADDRESS=self.embed.inner, **(query or {}))
        sinks = f"embed={self.embed.inner},query={self.query.inner}"
        self.ingest = Service("ingest", log_directory or directory / "ingest", ports[0], directory / "ingest.log", SINKS=sinks, **settings)

    async def run(self, *arguments: str | Path) -> Any:
        """A command against these services."""
        services = (self.ingest, self.embed, self.query)
        places = {f"TREERING_{each.name.upper()}": each.address for each in services}
        places |= {f"TREERING_INNER_{each.name.upper()}": each.inner for each in services}
        return await asyncio.to_thread(lambda: cli(*arguments, **places))

    async def json(self, *arguments: str | Path) -> Any:
        """What a command that must succeed printed."""
        done = await self.run(*arguments)
        assert done.returncode == 0, (done.stdout, done.stderr)
        return json.loads(done.stdout)

    def offsets(self, upto: Any) -> list[Any]:
        """Offsets that SQL knows, once everything below a position is visible."""
        with Client(self.endpoints, timeout=START_S) as client:
            found = client.sql('select "offset" o from logs order by 1', min_positions=(upto,))
            return [row["o"] for row in found.rows()]

    async def end(self) -> None:
        """Makes sure that nothing is left."""
        for service in (self.ingest, self.embed, self.query):
            await service.end()
