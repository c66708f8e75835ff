"""Errors as the command line shows them: what is wrong, what to do, an exit code, never a traceback."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from treering.errors import TreeringError

REFUSED = 1
"""Exit code: understood, but refused or failed."""


class Refusal(Exception):  # noqa: N818 - named for what it is
    """Ends the command with exit code 1; the message names the problem and the remedy."""


def explain(error: "TreeringError") -> str:
    """The words for an error of a call."""
    from treering.errors import UnavailableError  # noqa: PLC0415 - start-up

    if isinstance(error, UnavailableError) and not error.reason:
        return f"{error.message}\nstart the services with `treering up`, or say where they are: --ingest, --embed, --query HOST:PORT"
    if error.retry_after_s:
        return f"{error.message} (try again in {error.retry_after_s:g} s)"
    return error.message
