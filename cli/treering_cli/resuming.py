"""Streams without an end, over lost connections and restarts of the service."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from treering_cli.output import note

if TYPE_CHECKING:
    from treering.v1.log_pb2 import Position


def resuming(ask: Callable[[Sequence["Position"]], Iterator[Any]], address: str, retry_for_s: float) -> Iterator[Any]:
    """Answers of a stream; after a lost connection it goes on where it was.

    Args:
        ask: Begins the stream; gets the `resume_from` of the last answer, nothing at first.
        address: Who answers, for the words of an error.
        retry_for_s: How long a service that went away is called again, seconds. One that never answered is called once.

    Raises:
        TreeringError: As the stream's last attempt.
    """
    from treering.errors import TRANSIENT, TreeringError, UnavailableError  # noqa: PLC0415 - start-up
    from treering.patience import Patience  # noqa: PLC0415

    start: tuple[Position, ...] = ()
    patience = Patience(retry_for_s, lambda error, left_s: note(f"treering: {error.message}; trying for {left_s:.0f} s"))
    answered = False
    while True:
        try:
            for response in ask(start):
                answered = True
                patience.succeeded()
                start = tuple(response.resume_from) or start
                yield response
            error: TreeringError = UnavailableError(f"{address} ended the stream")
        except TRANSIENT as failure:
            if not answered:
                raise
            error = failure
        time.sleep(patience.delay(error, time.monotonic()))
