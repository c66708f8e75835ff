"""Programs that the command line starts on this machine, for what is asked of files and not of a service.

They are modules: `python -m treering_X.commands.NAME`.

A program writes its answers to standard output, one JSON value a line, each as soon as it is there. Exit code 0 means that it has answered
completely, whatever it found. Any other code means that it has not; standard error then says in words what is wrong and what to do.
"""

import json
import os
import sys
from collections.abc import Iterable

from treering_runtime.errors import StartError

_INTERRUPTED = 130


def write(answers: Iterable[object], *, user: str, refusals: tuple[type[Exception], ...] = (StartError,)) -> int:
    """Writes the answers of a program; returns its exit code.

    Args:
        answers: Values for JSON, computed while they are written.
        user: Who may use the files, in words: the remedy where they cannot be opened.
        refusals: Errors whose message is meant for people.
    """
    try:
        for answer in answers:
            # flushed, so that progress is seen and what was answered before damage is not lost with the process
            print(json.dumps(answer, default=str), flush=True)  # noqa: T201 - the program's output
    except refusals as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter's last flush would complain
        return 1
    except OSError as error:
        sys.stderr.write(f"{error.filename}: {error.strerror}; {user}\n")
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 0
