"""Starts the embedding service: `python -m treering_embed`."""

import sys

from treering_embed.application import Application
from treering_embed.settings import EmbedSettings
from treering_runtime.service import main

if __name__ == "__main__":
    sys.exit(main(EmbedSettings, Application))
