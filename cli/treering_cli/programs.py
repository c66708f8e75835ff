"""Programs of the services, which the command line starts where no rpc can be asked: `treering_runtime.commands` says how they answer."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from treering_cli.problems import Refusal

_NOTHING, _PIPE = subprocess.DEVNULL, subprocess.PIPE
_MISSING = re.compile(r"^ModuleNotFoundError: No module named '([\w.]+)'", re.MULTILINE)


class NotInstalledError(Refusal):
    """The program needs what is not installed here."""


def python_module(name: str) -> list[str]:
    """The command of a module in this Python; a module of the same name in the current directory is not taken for it."""
    return [sys.executable, "-P", "-m", name]


def answers(service: str, program: str, *arguments: str | Path | float, environment: Mapping[str, str] | None = None) -> Iterator[Any]:
    """What a program answers, each value as soon as it is there. A reader that stops ends the program.

    Args:
        service: Whose program it is; also the extra that installs what it needs.
        program: Its module below the service's package.
        arguments: Its arguments.
        environment: Variables that it has besides ours.

    Raises:
        NotInstalledError: A library that it needs is missing.
        Refusal: It refused, or failed; with its words.
    """
    command = [*python_module(f"treering_{service}.{program}"), *map(str, arguments)]
    variables = {**os.environ, **(environment or {})}
    with (
        subprocess.Popen(command, env=variables, stdin=_NOTHING, stdout=_PIPE, stderr=_PIPE) as process,  # noqa: S603 - our own program
        ThreadPoolExecutor(1) as beside,
    ):
        assert process.stdout  # noqa: S101 - pipes
        assert process.stderr  # noqa: S101
        # beside the answers: a program that fills the one pipe does not wait for a reader of the other
        words = beside.submit(process.stderr.read)
        try:
            # half a line is what a killed program leaves: its exit code tells
            yield from (json.loads(line) for line in process.stdout if line.endswith(b"\n"))
        except BaseException:
            # before the pipes are closed and the process is waited for: it may have hours of work left
            process.terminate()
            raise
    # only now: the answers may all be there although the program failed behind them
    if process.returncode:
        raise _refusal(service, process.returncode, words.result().decode(errors="replace").strip())


def _refusal(service: str, code: int, words: str) -> Refusal:
    missing = _MISSING.search(words)
    if missing:
        return NotInstalledError(f'{missing[1]} is not installed here, which {service} needs: pip install "treering[{service}]"')
    return Refusal(words or f"the program of {service} ended with {f'signal {-code}' if code < 0 else f'exit code {code}'}")
