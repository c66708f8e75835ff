"""`python -m treering_ingest.commands.config`: the settings in force."""

import sys

from treering_ingest.settings import IngestSettings
from treering_runtime.commands import write
from treering_runtime.commands.config import settings_in_force

if __name__ == "__main__":
    sys.exit(write(settings_in_force(IngestSettings), user="read it as the user that ingest runs as"))
