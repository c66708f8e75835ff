"""Runs ingest: `python -m treering_ingest`."""

import sys

from treering_ingest.process import IngestProcess
from treering_ingest.settings import IngestSettings
from treering_runtime.errors import StartError
from treering_runtime.server import run
from treering_runtime.settings import load


def main() -> int:
    """Serves until SIGTERM or SIGINT; the exit code."""
    try:
        settings = load(IngestSettings)
    except StartError as error:
        sys.stderr.write(f"treering ingest: {error}\n")
        return 1
    return run(settings, lambda: IngestProcess(settings).run())


if __name__ == "__main__":
    sys.exit(main())
