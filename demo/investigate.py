"""Writes the outputs in docs/investigating.md: runs each command of the page against the shop's day, the one that `make demo` shows.

python demo/investigate.py            writes the page's outputs anew
python demo/investigate.py --check    changes nothing; exit code 1 and the difference when the page is not what the commands say

A block of the page that begins with `$ treering` is a command and its output; the text around is written by hand. The day has fixed times
and is the same for the same seed, so that the outputs are too; scores may differ in their last digit from processor to processor, and
`--check` leaves them aside. Long lines are cut.
"""

import argparse
import difflib
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from run import RECORDS, SEED, STOP_S, Shell
from shop import generate

PAGE = Path(__file__).parents[1] / "docs/investigating.md"
_WIDTH = 180
"""Longest line of the page, characters."""

_BLOCK = re.compile(r"^```\n\$ (treering [^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SCORE = re.compile(r"^\d\.\d\d ", re.MULTILINE)
_TIMING = re.compile(r"\d+ rows? in \d+ ms")
"""What a command says of its own speed: another one each time, and left out."""


def answered(shell: Shell, command: str) -> str:
    """What a command of the page prints, its notes first.

    Raises:
        SystemExit: It failed; the message holds what it said.
    """
    words = [sys.executable, "-m", "treering_cli", *shlex.split(command)[1:]]
    done = subprocess.run(words, cwd=shell.folder, env=shell.environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"$ {command}\n{done.stdout}{done.stderr}")
    lines = (done.stderr + done.stdout).splitlines()
    return "".join(_cut(line.rstrip()) + "\n" for line in lines if not _TIMING.fullmatch(line))


def _cut(line: str) -> str:
    return line if len(line) <= _WIDTH else line[: _WIDTH - 1] + "…"


def written(shell: Shell, page: str) -> str:
    """The page with the outputs of now."""
    return _BLOCK.sub(lambda block: f"```\n$ {block[1]}\n{answered(shell, block[1])}```", page)


def investigated(page: str) -> str:
    """As `written`, from services of its own that are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="treering-investigate-") as folder:
        shell = Shell(Path(folder))
        (shell.folder / "shop.jsonl").write_text("".join(line.to_json() + "\n" for line in generate(RECORDS, SEED)))
        up = [
            sys.executable,
            "-m",
            "treering_cli",
            "up",
            *(word for name in ("ingest", "embed", "query") for word in (f"--{name}-port", "0")),
        ]
        with subprocess.Popen(
            up, cwd=shell.folder, env=shell.environment, stdout=subprocess.PIPE, text=True, start_new_session=True
        ) as services:
            assert services.stdout is not None  # noqa: S101 - a pipe was asked for
            try:
                if not services.stdout.readline():
                    raise SystemExit("`treering up` did not become ready")
                return written(shell, page)
            finally:
                services.send_signal(signal.SIGINT)
                services.wait(STOP_S)


def main() -> int:
    """Writes or checks the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 when the page is stale")
    check = parser.parse_args().check
    page = PAGE.read_text()
    now = investigated(page)
    if not check:
        PAGE.write_text(now)
        return 0
    before, after = (_SCORE.sub("#.## ", text).splitlines(keepends=True) for text in (page, now))
    difference = list(difflib.unified_diff(before, after, "docs/investigating.md", "what the commands say"))
    sys.stdout.writelines(difference)
    return 1 if difference else 0


if __name__ == "__main__":
    sys.exit(main())
