"""Settings of a service: from the environment and one TOML file, frozen, every field documented where it is defined."""

import os
import tomllib
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from treering_runtime.errors import StartError

CONFIG_VARIABLE = "TREERING_CONFIG"
"""Names the TOML file. Each service reads the table with its own name; the environment wins over the file."""


class _TomlTable(TomlConfigSettingsSource):
    """One table of the TOML file."""

    def __init__(self, settings_cls: type[BaseSettings], file: Path, table: str) -> None:
        self._table = table
        super().__init__(settings_cls, file)

    def _read_file(self, file_path: Path | Traversable) -> dict[str, Any]:
        return dict(tomllib.loads(file_path.read_text()).get(self._table, {}))


class ServiceSettings(BaseSettings):
    """What every service can be told. Names of the environment: `TREERING_<SERVICE>_<FIELD>`."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    service: ClassVar[str]

    data_dir: Path
    """Directory that the service owns; created with mode 0700. Nothing is written elsewhere."""

    listen: str = Field(pattern=r"^.+:\d+$")
    """Where the service answers, host:port. Port 0 takes any free one. Stays on loopback unless told otherwise: there is no password."""

    metrics_listen: str = Field(pattern=r"^.+:\d+$")
    """Where Prometheus finds `/metrics`, host:port. Port 0 takes any free one."""

    log_level: str = Field("info", pattern="^(debug|info|warning|error)$")
    """How much the service says about itself (JSON lines on standard error): debug, info, warning or error."""

    drain_seconds: float = Field(10.0, ge=0)
    """How long running calls may go on after SIGTERM, seconds."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments win over the environment, the environment over the file."""
        del dotenv_settings, file_secret_settings
        file = os.environ.get(CONFIG_VARIABLE)
        toml = (_TomlTable(settings_cls, Path(file), cls.service),) if file else ()
        return (init_settings, env_settings, *toml)


_S = TypeVar("_S", bound=ServiceSettings)


def load(cls: type[_S]) -> _S:
    """Reads the settings of a service.

    Raises:
        StartError: A value is wrong or missing; the message names each setting and its problem.
    """
    try:
        return cls.model_validate({})
    except ValidationError as error:
        raise StartError(_explain(cls, error)) from error
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise StartError(f"{CONFIG_VARIABLE}={os.environ.get(CONFIG_VARIABLE)}: {error}") from error


def _explain(cls: type[ServiceSettings], error: ValidationError) -> str:
    prefix = cls.model_config.get("env_prefix", "")
    problems = (f"{prefix}{'_'.join(map(str, item['loc']))}".upper() + f": {item['msg']}" for item in error.errors())
    return "settings: " + "; ".join(problems)
