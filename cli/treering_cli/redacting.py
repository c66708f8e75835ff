"""Which secrets are masked before records are sent: the table `redaction` of the file that TREERING_CONFIG names, and `--redact`."""

import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from treering_cli.problems import Refusal

if TYPE_CHECKING:
    from treering_formats.redaction.redactor import Redactor

CONFIG_VARIABLE = "TREERING_CONFIG"
_TABLE = "redaction"


def configured_redactor(*, built_in: bool) -> "Redactor | None":
    """The redactor that the settings ask for; None when they ask for nothing.

    Args:
        built_in: Whether the built-in rules apply, whatever the file says.

    Raises:
        Refusal: The file cannot be read, or has a rule that cannot be applied.
    """
    from treering_formats.redaction.settings import RedactionError, redactor  # noqa: PLC0415 - start-up

    name = os.environ.get(CONFIG_VARIABLE)
    try:
        table = tomllib.loads(Path(name).read_text()).get(_TABLE, {}) if name else {}
        if not isinstance(table, dict):
            raise RedactionError(f"`{_TABLE}` must be a table, begin it with [{_TABLE}]")
        return redactor(table, built_in=built_in)
    except (OSError, ValueError) as error:  # the errors of both parsers and of the rules are ValueErrors
        raise Refusal(f"{CONFIG_VARIABLE}={name}: {error}") from None
