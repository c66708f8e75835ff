"""Starts ingest: `python -m treering_ingest`."""

import sys

from treering_ingest.process import IngestProcess
from treering_ingest.settings import IngestSettings
from treering_runtime.service import main

if __name__ == "__main__":
    sys.exit(main(IngestSettings, IngestProcess))
