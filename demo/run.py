"""What `make demo` shows: a day of the shop goes in, and questions are asked, each command printed before its output.

Everything happens in a temporary directory and on free ports; nothing is left behind.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from shop import generate

RECORDS = 60_000
SEED = 7
STOP_S = 60.0
"""How long the services may take to stop, seconds, before they are killed."""

PHASES = """
select case when time < '2026-03-12 14:02' then '1 before' when time < '2026-03-12 14:31' then '2 incident' else '3 after' end phase,
       count(*) answers, quantile_cont(cast(attributes['duration_ms'] as int), 0.95)::int p95_ms
from logs where service = 'payments' and attributes['duration_ms'] is not null group by phase order by phase
"""
LOST = """
select count(distinct attributes['order']) orders, sum(cast(attributes['amount'] as decimal(9, 2))) eur, min(time) first, max(time) last
from logs where message like 'Gave up on the payment%'
"""

console = Console(highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """A sentence for whoever watches."""
    console.print(f"\n[bold]{text}[/bold]")


class Shell:
    """Runs `treering` as a person would, and shows what is typed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TREERING_")}
        self.environment = kept | {"TREERING_DATA_DIR": str(folder / "data"), "PYTHONUNBUFFERED": "1"}

    def run(self, *arguments: str) -> None:
        """Shows one command and its output.

        Raises:
            CalledProcessError: It failed; what it said is on the terminal.
        """
        self._show(arguments)
        subprocess.run(_treering(*arguments), cwd=self.folder, env=self.environment, check=True)

    @contextmanager
    def up(self) -> Iterator[None]:
        """The three services, from their ready line to their end."""
        arguments = ("up", "--ingest-port", "0", "--embed-port", "0", "--query-port", "0")
        self._show(arguments)
        # A session of its own: Ctrl-C reaches this program alone, which then stops the services in order.
        command = _treering(*arguments)
        services = subprocess.Popen(
            command, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert services.stdout is not None  # noqa: S101 - a pipe was asked for
        try:
            ready = services.stdout.readline()
            if not ready:
                raise subprocess.CalledProcessError(services.wait(), command)
            console.print(ready.strip(), markup=False)
            yield
        finally:
            _stop(services)
            services.stdout.close()

    def _show(self, arguments: tuple[str, ...]) -> None:
        console.print("\n[green]$[/green] ", end="")
        console.print("treering " + " ".join(map(_quoted, arguments)), style="green", markup=False)


def _quoted(argument: str) -> str:
    """As one would type it: double quotes where it has spaces or lines."""
    return f'"{argument.strip()}"' if any(letter.isspace() for letter in argument) else argument


def _treering(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "treering_cli", *arguments]


def _stop(services: "subprocess.Popen[str]") -> None:
    services.send_signal(signal.SIGINT)
    try:
        services.wait(STOP_S)
    except subprocess.TimeoutExpired:
        services.kill()
        services.wait()


def tell(shell: Shell) -> None:
    """The day, in the order in which somebody on call would ask."""
    say(f"1. A small shop, eight services, one day: {RECORDS:,} records, written now, the same each time")
    with (shell.folder / "shop.jsonl").open("w") as out:
        out.writelines(line.to_json() + "\n" for line in generate(RECORDS, SEED))
    shell.run("send", "shop.jsonl", "--wait")
    say("2. Found by meaning: none of these words has to be in a log line")
    shell.run("search", "customers could not pay", "--limit", "3", "--samples", "1")
    shell.run("search", "a hard drive is dying", "--limit", "3", "--samples", "1")
    shell.run("search", "brute force login attack", "--limit", "3", "--samples", "1")
    say("3. When was it? Errors by half hour")
    shell.run(
        "aggregate", "--bucket", "30m", "--min-severity", "error", "--since", "2026-03-12T09:00:00Z", "--until", "2026-03-12T18:00:00Z"
    )
    say("4. How bad was it? Counted with SQL")
    shell.run("sql", PHASES)
    shell.run("sql", LOST)


def main() -> int:
    """Starts, tells, stops."""
    console.print("[bold]Treering[/bold]: logs in over gRPC, counted with SQL, found by meaning. Starting the three services.")
    with tempfile.TemporaryDirectory(prefix="treering-demo-") as folder:
        shell = Shell(Path(folder))
        try:
            with shell.up():
                tell(shell)
                say("That was it; stopping the services.")
        except subprocess.CalledProcessError as error:
            console.print(f"[red]The demo ends here: a command failed with exit code {error.returncode}.[/red]")
            return 1
        except KeyboardInterrupt:
            return 130
    say("To go on:")
    console.print("  make up                                          the services, with data in ./treering-data, until Ctrl-C")
    console.print("  .venv/bin/treering send your.log --wait          in another terminal: your own logs, JSON lines or text")
    console.print('  .venv/bin/treering search "what you mean"        and docs/tour.md for the rest')
    return 0


if __name__ == "__main__":
    sys.exit(main())
