"""What the name of a log file says: the program whose log it is, and whether it is an older part of another file's log."""

import functools
import re
from pathlib import PurePath

PACKED = (".gz", ".bz2", ".xz", ".zst", ".zstd")
"""Suffixes of packed files."""

# What a rotation puts behind the name: app.log.1, app.log-20261118, app.log.2026-11-18_10, app.log.old. A number must stand behind a
# point: `worker-2` is a program.
_DATE = r"[.@_-](?:19|20)\d\d[-_.]?\d\d[-_.]?\d\d(?:[-_.T]?\d\d(?:[-_.:]?\d\d){0,2})?"
_ROTATED = re.compile(rf"(?:\.\d{{1,9}}|{_DATE}|\.(?:old|bak|prev|orig|rotated))$", re.IGNORECASE)
_DATED_STEM = re.compile(rf"(?:{_DATE}|\.\d{{1,9}})$")


def service_of(path: str) -> str:
    """The service of records that name none: the file's name without what packing and rotation put behind it, and without its suffix."""
    name = log_name(path)
    stem = PurePath(name).stem
    return _DATED_STEM.sub("", stem) or stem


def log_name(path: str) -> str:
    """The name of the file that a log is written to: `app.log` for `/var/log/app.log.2.gz`."""
    name = PurePath(path).name
    for suffix in PACKED:
        name = name.removesuffix(suffix) or name
    while (shorter := _ROTATED.sub("", name)) and shorter != name:
        name = shorter
    return name


@functools.lru_cache(maxsize=32_768)
def family(path: str) -> tuple[str, str, str]:
    """What a log and its older parts have in common: app.log, app.log.1, app.log-20261118.gz and app-20261118.log of one directory."""
    return str(PurePath(path).parent), PurePath(log_name(path)).suffix, service_of(path)


def is_older(path: str) -> bool:
    """Whether a file, by its name, is an older part of a log, or one of a day."""
    return log_name(path) != PurePath(path).name or service_of(path) != PurePath(path).stem


def is_part(path: str, log: str) -> bool:
    """Whether a file of the same family is an older part of this log: of app.log also app-20261118.log, of that only its own parts."""
    return log_name(path) == PurePath(log).name or not is_older(log)
