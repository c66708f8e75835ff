"""`python -m treering.cli`."""

import sys

from treering.cli import main

sys.exit(main())
