"""`treering follow`, and the way of `treering send --once`: files whose lines are each stored once."""

import math
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from treering_cli.choosing import Choice, Choosing
from treering_cli.connection import Connection
from treering_cli.escaping import to_json
from treering_cli.inputs import files_below, is_pattern, selected
from treering_cli.instance import DEFAULT_DATA_DIR
from treering_cli.output import answer, note
from treering_cli.problems import INTERRUPTED, REFUSED, Refusal
from treering_cli.reading import ReaderFactory, ReadingOptions

if TYPE_CHECKING:
    from treering_cli.following.follower import FileFollower
    from treering_cli.following.shipping import Shipping

StateDir = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Where it is kept how far each file was read. Default: positions in the data directory."),
]


def state_dir_of(given: Path | None, connection: Connection) -> Path:
    """Where positions are kept."""
    return given or (connection.data_dir or DEFAULT_DATA_DIR) / "positions"


def follow(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Log files, directories, or patterns in quotes; also such as come later.")
    ],
    *,
    connection: Connection,
    reading: ReadingOptions,
    choosing: Choosing,
    state_dir: StateDir = None,
    json: Annotated[bool, typer.Option("--json", help="The answer is JSON anyway.")] = False,
) -> None:
    """Send files that grow and are rotated, each line once, until Ctrl-C or SIGTERM.

    What is there is sent first. Renamed, truncated (copytruncate) and packed files are followed; a restart, of this or of ingest and
    however it comes, goes on where the last acknowledged record was. The answer at the end is one line of JSON.
    """
    del json
    with once_stored(connection, ReaderFactory(reading), choosing.choice(), state_dir, retry_for_s=math.inf) as run:
        run.go(lambda: (str(Path(each)) for each in _paths(files)), until_stopped=True)
    run.finish()


def _paths(names: list[str]) -> Iterator[str]:
    """The files that are to be read now; a name without a file stays, as the file may come."""
    for name in names:
        if Path(name).is_dir():
            yield from files_below(name)
        elif is_pattern(name):
            yield from (each for each in selected(name) if Path(each).is_file())
        else:
            yield name


class OnceStored:
    """A run that stores each line once, and what came of it; use it as a context manager."""

    def __init__(self, connection: Connection, reading: ReaderFactory, choice: Choice, directory: Path, retry_for_s: float) -> None:
        self._connection = connection
        self._reading = reading
        self._choice = choice
        self._directory = directory
        self._retry_for_s = retry_for_s
        self._stop = threading.Event()
        self._signal = 0
        self.follower: FileFollower
        self.shipping: Shipping

    def __enter__(self) -> Self:
        from treering_cli.following.positions import Positions  # noqa: PLC0415 - start-up
        from treering_cli.following.shipping import IngestChannel  # noqa: PLC0415

        self._address = self._connection.endpoints().ingest
        self._positions = Positions(self._directory)
        self._channel = IngestChannel(self._address)
        self._before = {number: signal.signal(number, self._stopped) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._channel.close()
        self._positions.close()

    def _stopped(self, number: int, _: object) -> None:
        self._signal = number
        self._stop.set()

    def go(self, paths: Callable[[], Iterator[str]], *, until_stopped: bool) -> None:
        """Reads and sends: what is there, or also what comes.

        Raises:
            Refusal: The positions cannot be kept.
            TreeringError: Ingest takes nothing for too long, or will never take it.
        """
        import sqlite3  # noqa: PLC0415 - start-up

        from treering.patience import Patience  # noqa: PLC0415
        from treering_cli.following.files import Files  # noqa: PLC0415
        from treering_cli.following.follower import FileFollower  # noqa: PLC0415
        from treering_cli.following.shipping import Shipping  # noqa: PLC0415

        patience = Patience(self._retry_for_s, lambda error, _: note(f"treering: ingest at {self._address}: {error.message}; trying on"))
        files = Files(self._positions, self._reading.reader, _say, by_content=not until_stopped)
        self.shipping = Shipping(self._positions, self._channel, patience, self._stop, _say)
        self.follower = FileFollower(
            paths,
            files=files,
            positions=self._positions,
            shipping=self.shipping,
            choice=self._choice,
            stop=self._stop,
            say=_say,
        )
        try:
            self.follower.follow() if until_stopped else self.follower.read_once()
        except sqlite3.Error as error:
            raise Refusal(
                f"the positions in {self._directory} cannot be kept: {error}; what was sent is not lost, start it again"
            ) from None

    def counts(self) -> dict[str, Any]:
        """What became of the records."""
        shipping, follower = self.shipping, self.follower
        return {
            "accepted": shipping.accepted,
            "rejected": shipping.rejected + follower.too_large,
            "end_offset": max(shipping.ends.values(), default=0),
            "stored": shipping.accepted,
            "left_out": self._choice.left_out,
            "uncertain": shipping.uncertain,
            "redacted": self._reading.redacted(),
            "files": [{"file": path, "records": count} for path, count in sorted(follower.by_path.items())[:1_000]],
        }

    def finish(self, wait_s: float | None = None) -> None:
        """Writes the answer and ends the command with the exit code that fits.

        Args:
            wait_s: How long to wait until everything can be found, seconds; None does not wait.
        """
        behind = "" if wait_s is None or self._signal else self._wait(wait_s)
        counts = self.counts()
        answer(to_json(counts | {"visible": None if wait_s is None else not behind}))
        for problem in self.follower.problems:
            note(f"treering: {problem}")
        if behind:
            raise Refusal(f"not visible after {wait_s:g} s: {behind}; nothing needs to be sent again; see `treering status`")
        if self._signal == signal.SIGINT:
            raise typer.Exit(INTERRUPTED)
        if counts["rejected"] or self.follower.problems:
            raise typer.Exit(REFUSED)

    def _wait(self, timeout_s: float) -> str:
        from treering.v1.log_pb2 import Position  # noqa: PLC0415 - start-up
        from treering_cli.visibility import wait_visible  # noqa: PLC0415

        ends = tuple(Position(log_id=log_id, offset=end) for log_id, end in self.shipping.ends.items())
        with self._connection.client() as client:
            return wait_visible(client, ends, timeout_s)


def once_stored(
    connection: Connection, reading: ReaderFactory, choice: Choice, state_dir: Path | None, *, retry_for_s: float
) -> OnceStored:
    """A run with the positions of a state directory."""
    return OnceStored(connection, reading, choice, state_dir_of(state_dir, connection), retry_for_s)


def _say(text: str) -> None:
    note(f"treering: {text}")
