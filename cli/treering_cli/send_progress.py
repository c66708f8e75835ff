"""Progress of a long send, on standard error: a bar at a terminal, a line now and then elsewhere."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from treering_cli.escaping import escape
from treering_cli.output import note

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_QUIET_S = 1.0
_LINE_EVERY_S = 10.0


class SendProgress:
    """Shows how far a send is, once it takes more than a second.

    Args:
        total_bytes: The size of all inputs; 0 when unknown.
    """

    def __init__(self, total_bytes: int) -> None:
        self._total = total_bytes
        self._started = self._shown = time.monotonic()
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def update(self, done_bytes: int, records: int) -> None:
        """Takes note of how far it is; cheap enough for every thousandth record."""
        now = time.monotonic()
        if sys.stderr.isatty() and self._total:
            if now - self._started > _QUIET_S:
                self._show_bar(done_bytes, records)
        elif now - self._shown > _LINE_EVERY_S:
            self._shown = now
            share = f", {100 * done_bytes / self._total:.0f} %" if self._total else ""
            note(f"treering: {records:,} records{share}")

    def say(self, text: str) -> None:
        """Writes a line, above the bar if there is one; from any thread."""
        if self._bar:
            self._bar.console.print(escape(text), markup=False, highlight=False)
        else:
            note(text)

    def _show_bar(self, done_bytes: int, records: int) -> None:
        from rich.console import Console  # noqa: PLC0415 - start-up
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

        if self._bar is None or self._task is None:
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f} %"), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("sending", total=self._total)
            self._bar.start()
        self._bar.update(self._task, completed=done_bytes, description=f"{records:,} records")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar:
            self._bar.stop()
