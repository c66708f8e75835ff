"""`python -m treering_query.commands.config`: the settings in force."""

import sys

from treering_query.settings import QuerySettings
from treering_runtime.commands import write
from treering_runtime.commands.config import settings_in_force

if __name__ == "__main__":
    sys.exit(write(settings_in_force(QuerySettings), user="read it as the user that query runs as"))
