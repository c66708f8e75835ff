"""The settings that a service would start with here and now."""

from collections.abc import Iterator
from typing import Any

from treering_runtime.settings import ServiceSettings, load


def settings_in_force(cls: type[ServiceSettings]) -> Iterator[dict[str, Any]]:
    """Each setting: its variable, value, default and meaning. A secret is shown as asterisks.

    Raises:
        StartError: The service would not start with these.
    """
    values = load(cls)
    prefix = cls.model_config.get("env_prefix", "")
    for name, field in cls.model_fields.items():
        yield {
            "name": f"{prefix}{name}".upper(),
            "value": getattr(values, name),
            "default": None if field.is_required() else field.get_default(call_default_factory=True),
            "meaning": " ".join((field.description or "").split()),
        }
