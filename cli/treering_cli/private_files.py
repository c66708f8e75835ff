"""Directories and files that are only ours, also where others may write: nothing here follows a link that somebody else laid."""

import errno
import os
import stat
from pathlib import Path
from typing import NoReturn

from treering_cli.problems import Refusal


def is_private(status: os.stat_result) -> bool:
    """Whether it belongs to this user, is no link, and nobody else may write there."""
    ours = status.st_uid == os.geteuid() and not stat.S_ISLNK(status.st_mode)
    return ours and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def make_private_directory(path: Path) -> None:
    """Makes a directory with mode 0700, or takes the one that is there if it is really ours.

    Raises:
        Refusal: It is a link, or others own it or may write there.
        OSError: It cannot be made.
    """
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        if not (path.is_dir() and is_private(path.lstat())):
            raise Refusal(
                f"{path} is not a directory of ours: it is a link, or others own it or may write there; "
                "look who put it there and take it away (chmod go-w if it is yours), or give another directory: --data-dir DIR"
            ) from None


def open_private(path: Path, flags: int) -> int:
    """Opens a file of ours, created with mode 0600 where `flags` say so, and returns its descriptor.

    Raises:
        Refusal: It is a link, or belongs to somebody else.
        OSError: It cannot be opened.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            _refuse(path)
        raise
    if os.fstat(descriptor).st_uid != os.geteuid():
        os.close(descriptor)
        _refuse(path)
    return descriptor


def _refuse(path: Path) -> NoReturn:
    raise Refusal(
        f"{path} is a link, or belongs to somebody else; look who put it there and take it away, or give another directory: --data-dir DIR"
    )
