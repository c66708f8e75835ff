"""What can be wrong with a log."""

import errno

from treering_ingest.durable_log import DiskFullError, LogDamagedError, NoDescriptorError

NO_ROOM = {
    errno.ENOSPC: DiskFullError,
    errno.EDQUOT: DiskFullError,
    errno.EMFILE: NoDescriptorError,
    errno.ENFILE: NoDescriptorError,
}
"""Errors that may pass: no space, or no descriptor to open a file with. The file itself is as it was."""


class CorruptLogError(LogDamagedError):
    """Bytes that were durable are not what they were. Nothing is skipped or repaired: a person decides.

    Args:
        file: The damaged file.
        position: Where in it, bytes from its start.
        problem: What is wrong there.
        remedy: What can be done.
    """

    def __init__(self, file: str, position: int, problem: str, remedy: str = "") -> None:
        advice = remedy or (
            "restore the file from a copy, or move the log's directory away to start a new log; "
            "`treering wal verify` lists what is damaged, `treering wal cat` prints what can be read"
        )
        super().__init__(f"{file}, byte {position}: {problem}; {advice}")
        # Apart from the text: `inspect` notes them and goes on.
        self.file = file
        self.position = position
        self.problem = problem


class BadFrameError(Exception):
    """The bytes at `position` are no valid frame of this segment.

    Args:
        position: Bytes from the start of the segment.
        problem: What is wrong.
    """

    def __init__(self, position: int, problem: str) -> None:
        # Without advice: these bytes may be damaged, or the torn end of a write. Only the caller knows which segment this is.
        super().__init__(f"byte {position}: {problem}")
        self.position = position
        self.problem = problem

    def as_damage(self, file: str, proof: str = "") -> CorruptLogError:
        """The same where these bytes must be a frame; `proof` says why."""
        return CorruptLogError(file, self.position, f"{self.problem}, and {proof}" if proof else self.problem)


class NewerFrameError(BadFrameError):
    """A frame that a newer version wrote: neither torn nor damaged, and not to be read here."""

    def as_damage(self, file: str, proof: str = "") -> CorruptLogError:
        """With another remedy: no copy helps."""
        del proof
        return CorruptLogError(file, self.position, self.problem, "use a newer Treering")
