"""What can be wrong with a log."""

from treering_runtime.errors import StartError


class CorruptLogError(StartError):
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
        self.file = file
        self.position = position
        self.problem = problem


class LogFailedError(Exception):
    """The disk refused a write or an fsync: what this process believes of its files can no longer be trusted.

    Linux may mark pages clean after a failed fsync, so a second fsync that succeeds proves nothing. Nothing more is acknowledged; a new
    process reads what is really there.
    """


class DiskFullError(Exception):
    """There was no space for the write. Nothing of it is in the log; the same call may be repeated when there is space."""


class NoDescriptorError(DiskFullError):
    """The same, but no file could be opened for the write: too many are open, in this process or in the system."""


class BadFrameError(Exception):
    """The bytes at `position` are no valid frame of this segment.

    Args:
        position: Bytes from the start of the segment.
        problem: What is wrong.
    """

    def __init__(self, position: int, problem: str) -> None:
        super().__init__(f"byte {position}: {problem}")
        self.position = position
        self.problem = problem
