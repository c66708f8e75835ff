"""What `treering up` does: three services as child processes that live and die with it.

`ports` draws free ports, `child` is one process with its restarts and its log, `stack` knows the three services, their settings and the
order in which they stop.
"""

from treering_cli.supervisor.stack import Options, Stack

__all__ = ["Options", "Stack"]
