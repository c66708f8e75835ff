"""Settings of a service: from the environment and one TOML file, frozen, every field documented where it is defined."""

import os
import re
import tomllib
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from treering_runtime.errors import StartError

CONFIG_VARIABLE = "TREERING_CONFIG"
"""Names the TOML file. Each service reads the table with its own name; the environment wins over the file."""


def _table(file: Path, name: str) -> dict[str, Any]:
    """One table of the TOML file; empty when the file has none of that name.

    Raises:
        StartError: The file cannot be read, or is no TOML.
    """
    try:
        table = tomllib.loads(file.read_text()).get(name, {})
    except (OSError, ValueError) as error:  # both parsers' errors are ValueErrors
        raise StartError(f"{CONFIG_VARIABLE}={file}: {error}") from error
    if not isinstance(table, dict):
        raise StartError(f"{CONFIG_VARIABLE}={file}: `{name}` must be a table, begin it with [{name}]")
    return table


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

    stop_with_stdin: bool = False
    """Stop as after SIGTERM when standard input ends. For whoever starts the service with a pipe there: it cannot outlive that process."""

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
        toml = (InitSettingsSource(settings_cls, _table(Path(file), cls.service)),) if file else ()
        return (init_settings, env_settings, *toml)


_S = TypeVar("_S", bound=ServiceSettings)
_NO_JSON = re.compile(r'error parsing value for field "(\w+)"')
"""What the library says of a variable whose text is no JSON; it gives no place."""


def load(cls: type[_S]) -> _S:
    """Reads the settings of a service.

    Raises:
        StartError: A value is wrong, missing or of an unknown name; the message names each setting and its problem.
    """
    _refuse_unknown_variables(cls)
    try:
        return cls.model_validate({})
    except ValidationError as error:
        raise StartError(_explain(cls, error)) from error


def _refuse_unknown_variables(cls: type[ServiceSettings]) -> None:
    """A misspelt variable would otherwise change nothing, silently."""
    prefix = str(cls.model_config.get("env_prefix", ""))
    known = {f"{prefix}{name}".upper() for name in cls.model_fields}
    unknown = sorted(name for name in os.environ if name.startswith(prefix) and name not in known)
    if unknown:
        raise StartError(f"settings: {', '.join(unknown)}: no such setting; known are {', '.join(sorted(known))}")


def _explain(cls: type[ServiceSettings], error: ValidationError) -> str:
    prefix = str(cls.model_config.get("env_prefix", ""))
    return "settings: " + "; ".join(_problem(prefix, item["loc"], item["msg"]) for item in error.errors())


def _problem(prefix: str, place: tuple[int | str, ...], message: str) -> str:
    """Names the variable, and the place in its value where there is one."""
    unread = _NO_JSON.search(message)
    if not place and unread:
        return f"{prefix}{unread[1]}".upper() + ": is not the JSON that is wanted; docs/settings.md has an example"
    name, *inside = map(str, place or ("",))
    return f"{prefix}{name}".upper() + "".join(f"[{each}]" for each in inside) + f": {message}"
