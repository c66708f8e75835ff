"""How many files and connections this process may have open."""

import contextlib
import resource

from treering_runtime.errors import StartError
from treering_runtime.limits import MAX_OPEN_FILES, MIN_OPEN_FILES


def raise_limit() -> None:
    """Raises the soft limit, which is 1,024 on most systems, to what the system allows: each connection takes one.

    Raises:
        StartError: It allows too few.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
    if wanted < MIN_OPEN_FILES:
        raise StartError(f"this process may open {wanted} files, it needs {MIN_OPEN_FILES} at least; raise the limit: ulimit -n")
    # The hard limit is left as it is: without privileges it could never be raised again.
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # some systems allow less than they say
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def limit() -> int:
    """The limit in force."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
