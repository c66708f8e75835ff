"""`python -m treering_embed.commands.config`: the settings in force."""

import sys

from treering_embed.settings import EmbedSettings
from treering_runtime.commands import write
from treering_runtime.commands.config import settings_in_force

if __name__ == "__main__":
    sys.exit(write(settings_in_force(EmbedSettings), user="read it as the user that embed runs as"))
