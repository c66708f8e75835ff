from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import Field, ValidationError
from pydantic_settings import SettingsConfigDict

from treering_runtime.errors import StartError
from treering_runtime.settings import ServiceSettings, load


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="TREERING_SAMPLE_")
    service: ClassVar[str] = "sample"

    data_dir: Path = Path("data")
    listen: str = Field("127.0.0.1:1", pattern=r"^.+:\d+$")
    metrics_listen: str = Field("127.0.0.1:2", pattern=r"^.+:\d+$")
    threads: int = Field(2, ge=1)
    """Threads of the sample."""


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch):
    monkeypatch.delenv("TREERING_CONFIG", raising=False)


def test_defaults():
    settings = load(Settings)
    assert (settings.threads, settings.listen, settings.log_level, settings.drain_seconds) == (2, "127.0.0.1:1", "info", 10.0)


def test_the_environment_sets_a_field(monkeypatch):
    monkeypatch.setenv("TREERING_SAMPLE_THREADS", "5")
    assert load(Settings).threads == 5


def test_the_file_sets_a_field_of_its_table_and_the_environment_wins(monkeypatch, tmp_path):
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
def test_a_wrong_value_is_named_with_its_variable(monkeypatch, name, value, words):
    monkeypatch.setenv(f"TREERING_SAMPLE_{name}", value)
    with pytest.raises(StartError) as caught:
        load(Settings)
    assert all(word in str(caught.value) for word in words)


def test_an_unknown_name_in_the_file_is_refused(monkeypatch, tmp_path):
    file = tmp_path / "treering.toml"
    file.write_text("[sample]\nthread = 7\n")
    monkeypatch.setenv("TREERING_CONFIG", str(file))
    with pytest.raises(StartError, match="TREERING_SAMPLE_THREAD: "):
        load(Settings)


@pytest.mark.parametrize("content", [None, "threads = = 1", "\xff"])
def test_a_file_that_cannot_be_read_is_named(monkeypatch, tmp_path, content):
    file = tmp_path / "treering.toml"
    if content is not None:
        file.write_bytes(content.encode("latin-1"))
    monkeypatch.setenv("TREERING_CONFIG", str(file))
    with pytest.raises(StartError) as caught:
        load(Settings)
    assert str(file) in str(caught.value)


def test_a_table_that_is_no_table_is_refused(monkeypatch, tmp_path):
    file = tmp_path / "treering.toml"
    file.write_text("sample = 3\n")
    monkeypatch.setenv("TREERING_CONFIG", str(file))
    with pytest.raises(StartError, match="must be a table"):
        load(Settings)


def test_a_misspelt_variable_is_refused(monkeypatch):
    monkeypatch.setenv("TREERING_SAMPLE_THREDS", "3")
    with pytest.raises(StartError, match="TREERING_SAMPLE_THREDS"):
        load(Settings)


def test_settings_do_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        load(Settings).threads = 3


def test_each_field_says_what_it_is():
    fields = ServiceSettings.model_fields | {"threads": Settings.model_fields["threads"]}
    assert [name for name, field in fields.items() if not field.description] == []
