"""`python -m treering_cli`."""

import sys

from treering_cli import main

sys.exit(main())
