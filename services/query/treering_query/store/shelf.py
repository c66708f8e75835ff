"""The store, as far as templates need it."""

from collections.abc import Sequence
from typing import Protocol

import pyarrow as pa

from treering_query.templates.changes import TemplatesChange
from treering_query.templates.joining import Templates
from treering_query.view.view import View


class Shelf(Protocol):
    """The store, as far as templates need it."""

    @property
    def view(self) -> View:
        """What is visible now."""

    async def save_templates(self, change: TemplatesChange) -> None:
        """Makes a change last."""

    def publish_templates(self, templates: Templates, before: Sequence[pa.Table], after: pa.Table | None) -> bool:
        """Shows templates, and the pattern tables `before` as `after` (None: as they are); False when those are not shown any more."""
