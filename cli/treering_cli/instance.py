"""The one `treering up` that may run on a data directory: its lock, and the file that says where it answers."""

import fcntl
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from treering_cli.private_files import open_private
from treering_cli.problems import Refusal

DEFAULT_DATA_DIR = Path("treering-data")
"""The data directory when none is named."""

_FILE = "up.json"
_LOCK = "up.lock"


@dataclass(frozen=True)
class Instance:
    """A running `treering up`."""

    pid: int
    """Its process."""
    ready: bool
    """Whether all three services have answered."""
    ingest: str
    """host:port."""
    embed: str
    """host:port."""
    query: str
    """host:port."""
    inner: dict[str, str] = field(default_factory=dict)
    """Where the inner planes of ingest, embed and query are, by their names: `unix:PATH`."""
    settings: dict[str, str] = field(default_factory=dict)
    """What it told its services, as environment variables."""


class InstanceLock:
    """Makes this process the only `treering up` on a data directory until `release`, or its end, however it ends.

    Raises:
        Refusal: Another one runs on it, or the directory cannot be used.
    """

    def __init__(self, data_dir: Path) -> None:
        self._file = data_dir / _FILE
        try:
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = open_private(data_dir / _LOCK, os.O_RDWR | os.O_CREAT)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise Refusal(_in_use(data_dir)) from None
        except OSError as error:
            raise _unusable(data_dir, error) from None

    def publish(self, instance: Instance) -> None:
        """Says where the services answer, atomically.

        Raises:
            Refusal: The file cannot be written.
        """
        temporary = self._file.with_suffix(".tmp")
        try:
            temporary.unlink(missing_ok=True)  # a killed `up` leaves it, and what somebody else laid there is not written through
            with open(open_private(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "w") as out:  # noqa: PTH123 - a descriptor
                out.write(json.dumps(asdict(instance), indent=2) + "\n")
            temporary.replace(self._file)
        except OSError as error:
            raise _unusable(self._file.parent, error) from None

    def release(self) -> None:
        """Takes the file away and unlocks."""
        self._file.unlink(missing_ok=True)
        os.close(self._descriptor)


def running_instance(data_dir: Path) -> Instance | None:
    """The `treering up` that runs on a data directory; None when there is none. What a killed one left behind does not count.

    Raises:
        Refusal: Somebody else says so: who believed it would send them every record.
    """
    if not _is_locked(data_dir):
        return None
    try:
        with open(open_private(data_dir / _FILE, os.O_RDONLY)) as file:  # noqa: PTH123 - a descriptor
            return Instance(**json.load(file))
    except (OSError, ValueError, TypeError):
        return None  # it is starting or stopping


def _is_locked(data_dir: Path) -> bool:
    try:
        descriptor = os.open(data_dir / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def _unusable(data_dir: Path, error: OSError) -> Refusal:
    return Refusal(f"{data_dir} cannot be used: {error.strerror}; give a directory that you may write: --data-dir DIR")


def _in_use(data_dir: Path) -> str:
    other = running_instance(data_dir)
    who = f" (process {other.pid}, query at {other.query})" if other else ""
    return f"a `treering up` is already running on {data_dir}{who}; stop that one, or give another directory: --data-dir DIR"
