"""Settings of a service: from the environment and one TOML file, frozen, every field documented where it is defined."""

import difflib
import os
import re
import tomllib
from collections.abc import Iterable
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

    # Inputs stay out of the library's errors, which tracebacks show: a value may be a secret, also under a misspelt name.
    model_config = SettingsConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True)
    service: ClassVar[str]
    format_version: ClassVar[int] = 1
    """Of the data directory; raised with whatever an older program must not open."""

    data_dir: Path
    """Directory that the service owns; created with mode 0700. Nothing is written elsewhere. In one that others own or may write, the
    service makes a directory of its own, named after itself."""

    listen: str = Field(pattern=r"^.+:\d+$")
    """Where the service answers, host:port. Port 0 takes any free one. Stays on loopback unless told otherwise: there is no password."""

    inner_listen: str = ""
    """Where the other services and whoever runs them reach it: `unix:PATH` of a socket, whose directory has mode 0700; or host:port, which
    needs the three files below. Empty = the socket `inner/s` in the data directory."""

    inner_ca_file: str = ""
    """For the inner plane between hosts: PEM file of the certificate authority that signs the certificates of the services and of whoever
    runs them, and nothing else. Empty = no TLS, Unix sockets only."""

    inner_cert_file: str = ""
    """The service's certificate, PEM, for clients and servers; its names are what others connect to."""

    inner_key_file: str = ""
    """The key of that certificate, PEM, mode 0600 (0640 where root owns it). A new file is read at the next start."""

    metrics_listen: str = Field(pattern=r"^.+:\d+$")
    """Where Prometheus finds `/metrics`, host:port. Port 0 takes any free one."""

    metrics_hosts: str = ""
    """Names by which `/metrics` may be asked, separated by commas, besides IP addresses and localhost; for example
    `ingest,ingest.logs.svc`. Under any other name the answer is 403: a web page must not read it by way of its own name."""

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
        # Left out: a `.env` of whatever directory the process starts in would change settings that nobody wrote for it.
        del dotenv_settings, file_secret_settings
        file = os.environ.get(CONFIG_VARIABLE)
        # Read as a table and not by the library, so that its errors name the file.
        toml = (InitSettingsSource(settings_cls, _table(Path(file), cls.service)),) if file else ()
        return (init_settings, env_settings, *toml)


def names(text: str) -> tuple[str, ...]:
    """What a setting lists, separated by commas."""
    return tuple(filter(None, (part.strip() for part in text.split(","))))


_S = TypeVar("_S", bound=ServiceSettings)
_NO_JSON = re.compile(r'error parsing value for field "(\w+)"')
"""What the library says of a variable whose text is no JSON; it gives no place."""

_SERVICE_LINKS = tuple(
    (re.compile(rf"\w+_{name}"), re.compile(value))
    for name, value in (
        ("SERVICE_HOST", r"[\da-fA-F.:]+"),
        (r"SERVICE_PORT(?:_\w+)?", r"\d+"),
        (r"PORT(?:_\d+_(?:TCP|UDP|SCTP))?", r"(?:tcp|udp|sctp)://.+"),
        (r"PORT_\d+_(?:TCP|UDP|SCTP)_ADDR", r"[\da-fA-F.:]+"),
        (r"PORT_\d+_(?:TCP|UDP|SCTP)_PORT", r"\d+"),
        (r"PORT_\d+_(?:TCP|UDP|SCTP)_PROTO", r"tcp|udp|sctp"),
    )
)
"""Variables that Kubernetes gives to every container for each Service of the namespace: name and value, both in full.

A Service called `treering-ingest` brings TREERING_INGEST_SERVICE_HOST and others. The value is looked at too, because
TREERING_INGEST_PORT=4701 is somebody's mistake: Kubernetes gives tcp://10.0.0.1:4701.
Source: https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
"""


def load(cls: type[_S]) -> _S:
    """Reads the settings of a service.

    Raises:
        StartError: A value is wrong, missing or of an unknown name; the message names each setting and its problem.
    """
    # Before the values: a misspelt name often is the reason why a value is missing.
    _refuse_unknown_variables(cls)
    try:
        return cls.model_validate({})
    except ValidationError as error:
        raise StartError(_explain(cls, error)) from error


def is_service_link(name: str, value: str) -> bool:
    """Whether a variable is one that Kubernetes sets for a Service."""
    return any(names.fullmatch(name) and values.fullmatch(value) for names, values in _SERVICE_LINKS)


def _refuse_unknown_variables(cls: type[ServiceSettings]) -> None:
    """A misspelt variable would otherwise change nothing, silently."""
    prefix, known = _prefix(cls), _variables(cls)
    candidates = {name: value for name, value in os.environ.items() if name.upper().startswith(prefix) and name.upper() not in known}
    # Kubernetes' own variables have our prefix where a Service is called like one of ours; they are not the operator's mistake.
    unknown = sorted(name for name, value in candidates.items() if not is_service_link(name, value))
    if unknown:
        raise StartError("settings: " + "; ".join(f"{name}: {_no_such_setting(name, known)}" for name in unknown))


def _no_such_setting(name: str, known: Iterable[str]) -> str:
    """What is wrong with an unknown name, and the nearest known ones; all of them when none is near."""
    known = sorted(known)
    near = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.8)
    return f"no such setting; did you mean {near[0]}?" if near else f"no such setting; known are {', '.join(known)}"


def _prefix(cls: type[ServiceSettings]) -> str:
    return str(cls.model_config.get("env_prefix", ""))


def _variables(cls: type[ServiceSettings]) -> set[str]:
    return {f"{_prefix(cls)}{name}".upper() for name in cls.model_fields}


def _explain(cls: type[ServiceSettings], error: ValidationError) -> str:
    # `include_input=False`: the input of a wrong setting may be a secret.
    return "settings: " + "; ".join(_problem(cls, item["loc"], item["type"], item["msg"]) for item in error.errors(include_input=False))


def _problem(cls: type[ServiceSettings], place: tuple[int | str, ...], kind: str, message: str) -> str:
    """Names the variable, and the place in its value where there is one."""
    unread = _NO_JSON.search(message)
    if not place and unread:
        return f"{_prefix(cls)}{unread[1]}".upper() + ": is not the JSON that is wanted; docs/settings.md has an example"
    name, *inside = map(str, place or ("",))
    variable = f"{_prefix(cls)}{name}".upper()
    if kind == "extra_forbidden" and not inside:
        return f"{variable}: {_no_such_setting(variable, _variables(cls))}"
    return variable + "".join(f"[{each}]" for each in inside) + f": {message}"
