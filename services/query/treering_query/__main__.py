"""Starts the query service: `python -m treering_query`."""

import sys

from treering_query.process import QueryProcess
from treering_query.settings import QuerySettings
from treering_runtime.service import main

if __name__ == "__main__":
    sys.exit(main(QuerySettings, QueryProcess))
