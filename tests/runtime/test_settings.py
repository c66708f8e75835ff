import re
import traceback
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import SettingsConfigDict

from treering_embed.settings import EmbedSettings
from treering_ingest.settings import IngestSettings
from treering_query.settings import QuerySettings
from treering_runtime.errors import StartError
from treering_runtime.settings import ServiceSettings, is_service_link, load

ALL = (IngestSettings, EmbedSettings, QuerySettings)


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="TREERING_SAMPLE_")
    service: ClassVar[str] = "sample"

    data_dir: Path = Path("data")
    listen: str = Field("127.0.0.1:1", pattern=r"^.+:\d+$")
    metrics_listen: str = Field("127.0.0.1:2", pattern=r"^.+:\d+$")
    threads: int = Field(2, ge=1)
    """Threads of the sample."""
    token: SecretStr = Field(SecretStr(""), max_length=20)
    """A secret of the sample."""


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TREERING_CONFIG", raising=False)


def test_defaults() -> None:
    settings = load(Settings)
    assert (settings.threads, settings.listen, settings.log_level, settings.drain_seconds) == (2, "127.0.0.1:1", "info", 10.0)


def test_the_environment_sets_a_field(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TREERING_SAMPLE_THREADS", "5")
    assert load(Settings).threads == 5


def test_the_file_sets_a_field_of_its_table_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "treering.toml"
    file.write_text('[sample]\nthreads = 7\nlog_level = "error"\n[other]\nthreads = 9\n')
    monkeypatch.setenv("TREERING_CONFIG", str(file))
    assert (load(Settings).threads, load(Settings).log_level) == (7, "error")
    monkeypatch.setenv("TREERING_SAMPLE_THREADS", "3")
    assert (load(Settings).threads, load(Settings).log_level) == (3, "error")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("THREADS", "0", ["TREERING_SAMPLE_THREADS", "greater than or equal to 1"]),
        ("THREADS", "many", ["TREERING_SAMPLE_THREADS", "valid integer"]),
        ("LISTEN", "nowhere", ["TREERING_SAMPLE_LISTEN", "pattern"]),
        ("LOG_LEVEL", "loud", ["TREERING_SAMPLE_LOG_LEVEL", "pattern"]),
        ("DRAIN_SECONDS", "-1", ["TREERING_SAMPLE_DRAIN_SECONDS"]),
    ],
)
def test_a_wrong_value_is_named_with_its_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: list[str]) -> None:
    monkeypatch.setenv(f"TREERING_SAMPLE_{name}", value)
    with pytest.raises(StartError) as caught:
        load(Settings)
    assert all(word in str(caught.value) for word in words)


def test_an_unknown_name_in_the_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "treering.toml"
    file.write_text("[sample]\nthread = 7\n")
    monkeypatch.setenv("TREERING_CONFIG", str(file))
    with pytest.raises(StartError, match="TREERING_SAMPLE_THREAD: "):
        load(Settings)


@pytest.mark.parametrize("content", [None, "threads = = 1", "\xff"])
def test_a_file_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "treering.toml"
    if content is not None:
        file.write_bytes(content.encode("latin-1"))
    monkeypatch.setenv("TREERING_CONFIG", str(file))
    with pytest.raises(StartError) as caught:
        load(Settings)
    assert str(file) in str(caught.value)


def test_a_table_that_is_no_table_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "treering.toml"
    file.write_text("sample = 3\n")
    monkeypatch.setenv("TREERING_CONFIG", str(file))
    with pytest.raises(StartError, match="must be a table"):
        load(Settings)


@pytest.mark.parametrize("name", ["TREERING_SAMPLE_THREDS", "TREERING_SAMPLE_THREAD", "treering_sample_threds"])
def test_a_misspelt_variable_is_refused_with_the_closest_known_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "3")
    with pytest.raises(StartError) as caught:
        load(Settings)
    assert str(caught.value) == f"settings: {name}: no such setting; did you mean TREERING_SAMPLE_THREADS?"


def test_a_name_that_is_like_none_is_refused_with_all_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TREERING_SAMPLE_COLOUR", "red")
    with pytest.raises(StartError, match=r"TREERING_SAMPLE_COLOUR: .*known are TREERING_SAMPLE_DATA_DIR, .*, TREERING_SAMPLE_TOKEN"):
        load(Settings)


def test_a_misspelt_name_in_the_file_gets_the_closest_known_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "treering.toml"
    file.write_text("[sample]\nthread = 7\n")
    monkeypatch.setenv("TREERING_CONFIG", str(file))
    with pytest.raises(StartError, match=r"did you mean TREERING_SAMPLE_THREADS\?"):
        load(Settings)


def service_links(service: str, host: str = "10.96.0.7") -> dict[Any, Any]:
    """What Kubernetes sets in each container for a Service with a named TCP port, a nameless one and a UDP one."""
    prefix = service.upper().replace("-", "_")
    links = {"SERVICE_HOST": host, "SERVICE_PORT": "4701", "SERVICE_PORT_GRPC": "4701", "SERVICE_PORT_GRPC_2": "4711"}
    links["PORT"] = f"tcp://{host}:4701"
    for number, protocol in ((4701, "tcp"), (4711, "tcp"), (53, "udp")):
        port = f"PORT_{number}_{protocol.upper()}"
        links |= {port: f"{protocol}://{host}:{number}", f"{port}_PROTO": protocol, f"{port}_PORT": str(number), f"{port}_ADDR": host}
    return {f"{prefix}_{name}": value for name, value in links.items()}


@pytest.mark.parametrize("host", ["10.96.0.7", "fd00:10:96::7"])
@pytest.mark.parametrize("cls", ALL)
def test_what_kubernetes_sets_for_services_of_our_names_does_not_stop_a_start(
    monkeypatch: pytest.MonkeyPatch, cls: type[IngestSettings] | type[EmbedSettings] | type[QuerySettings], host: str
) -> None:
    for service in ("treering", *(f"treering-{each.service}{suffix}" for each in ALL for suffix in ("", "-headless", "-0"))):
        for name, value in service_links(service, host).items():
            monkeypatch.setenv(name, value)
    assert load(cls) == cls.model_construct()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "4701"),
        ("LISTEN_PORT", "4701"),
        ("SERVICE_HOST", "ingest.example.org"),
        ("SERVICE_PORT", "grpc"),
        ("PORT_4701_TCP", "4701"),
        ("PORT_4701_TCP_PROTO", "http"),
        ("SERVICE", "10.96.0.7"),
        ("ADDR", "10.96.0.7"),
    ],
)
def test_names_like_those_of_kubernetes_with_values_that_it_does_not_give_are_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"TREERING_SAMPLE_{name}", value)
    with pytest.raises(StartError, match=f"TREERING_SAMPLE_{name}: no such setting"):
        load(Settings)


@pytest.mark.parametrize("cls", ALL)
def test_no_setting_has_a_name_that_kubernetes_may_set(cls: type[IngestSettings] | type[EmbedSettings] | type[QuerySettings]) -> None:
    prefix = cls.model_config["env_prefix"]
    taken = "10.96.0.7", "4701", "tcp", "tcp://10.96.0.7:4701"
    assert [name for name in cls.model_fields for value in taken if is_service_link(f"{prefix}{name}".upper(), value)] == []


@pytest.mark.parametrize("cls", ALL)
def test_what_is_named_like_a_secret_is_one(cls: type[IngestSettings] | type[EmbedSettings] | type[QuerySettings]) -> None:
    named = {name: field.annotation for name, field in cls.model_fields.items() if re.search(r"_key$|password|secret|token", name)}
    assert set(named.values()) <= {SecretStr}
    assert ("qdrant_api_key" in named) == (cls is EmbedSettings)


SECRET = "hush-hush-and-never-tell"


@pytest.mark.parametrize("name", ["TOKEN", "TOKN"])
def test_an_error_does_not_show_a_secret_nor_what_is_meant_as_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    """A secret of a wrong form in the environment, and one under a misspelt name in the file; the whole traceback counts."""
    file = tmp_path / "treering.toml"
    file.write_text(f'[sample]\n{name.lower()} = "{SECRET}"\n')
    monkeypatch.setenv("TREERING_CONFIG", str(file))
    with pytest.raises(StartError, match=f"TREERING_SAMPLE_{name}: ") as caught:
        load(Settings)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_settings_do_not_show_their_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TREERING_EMBED_QDRANT_API_KEY", SECRET)
    settings = load(EmbedSettings)
    assert settings.qdrant_api_key.get_secret_value() == SECRET
    assert all(SECRET not in text for text in (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()))


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load(Settings).threads = 3  # type: ignore[misc]


def test_each_field_says_what_it_is() -> None:
    fields = ServiceSettings.model_fields | {name: Settings.model_fields[name] for name in ("threads", "token")}
    assert [name for name, field in fields.items() if not field.description] == []
