"""What docker-compose.yml and Dockerfile say, held against the code: no engine is needed for that."""

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from treering_embed.settings import EmbedSettings
from treering_ingest.settings import IngestSettings, parse_sinks
from treering_query.settings import QuerySettings

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = YAML(typ="safe").load((ROOT / "docker-compose.yml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SERVERS = [name for name, service in COMPOSE["services"].items() if "profiles" not in service]
SETTINGS = {"ingest": IngestSettings, "embed": EmbedSettings, "query": QuerySettings}


@pytest.mark.parametrize("name", SERVERS)
def test_ports_are_published_on_loopback_only(name: Any) -> None:
    assert all(port.startswith("127.0.0.1:") for port in COMPOSE["services"][name]["ports"])


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_nothing_runs_as_root(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["user"].split(":")[0] not in {"", "0", "root"}
    assert service["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("name", SERVERS)
def test_nothing_serves_without_a_health_check(name: Any) -> None:
    assert COMPOSE["services"][name]["healthcheck"]["test"][0] == "CMD"


def test_duckdb_cli_is_asked_for_by_name_and_can_only_read() -> None:
    service = COMPOSE["services"]["duckdb"]
    assert (service["profiles"], service["volumes"], service["network_mode"]) == (["duckdb"], ["query:/data:ro"], "none")
    assert service["user"] == COMPOSE["services"]["query"]["user"]
    assert "FROM run AS duckdb\n" in DOCKERFILE
    [script] = re.findall(r"COPY (\S+) /opt/duckdb/duckdb.sql", DOCKERFILE)
    assert (ROOT / script).is_file()


@pytest.mark.parametrize("name", SETTINGS)
def test_each_service_has_a_target_and_a_volume_of_its_own(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["build"]["target"] == name
    assert f"FROM run AS {name}\n" in DOCKERFILE
    assert service["volumes"] == [f"{name}:/data", "sockets:/run/treering"]
    assert name in COMPOSE["volumes"]


@pytest.mark.parametrize("name", SETTINGS)
def test_metrics_answer_by_the_name_of_the_service(name: str) -> None:
    assert COMPOSE["services"][name]["environment"][f"TREERING_{name.upper()}_METRICS_HOSTS"] == name


@pytest.mark.parametrize("name", SETTINGS)
def test_each_variable_is_a_setting_with_a_value_that_it_takes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = f"TREERING_{name.upper()}_"
    variables = dict(COMPOSE["services"][name]["environment"]) | dict(re.findall(rf"({prefix}\w+)=(\S+)", DOCKERFILE))
    fields = {variable.removeprefix(prefix).lower(): value for variable, value in variables.items()}
    settings = SETTINGS[name](**fields)
    assert {field: str(getattr(settings, field)) for field in fields} == fields


def environment_of(name: str) -> Any:
    return COMPOSE["services"][name]["environment"]


def test_each_service_is_reached_where_it_listens_on_the_volume_of_the_sockets() -> None:
    places = {name: environment_of(name)[f"TREERING_{name.upper()}_INNER_LISTEN"] for name in SETTINGS}
    assert places == {name: f"unix:/run/treering/{name}/s" for name in SETTINGS}
    assert parse_sinks(environment_of("ingest")["TREERING_INGEST_SINKS"]) == {name: places[name] for name in ("embed", "query")}
    assert environment_of("query")["TREERING_QUERY_EMBED_ADDRESS"] == places["embed"]
    assert {name: environment_of("admin")[f"TREERING_INNER_{name.upper()}"] for name in SETTINGS} == places


def test_whoever_looks_after_the_services_is_their_user_and_reaches_both_planes() -> None:
    admin = COMPOSE["services"]["admin"]
    assert (admin["profiles"], admin["volumes"], "ports" in admin) == (["admin"], ["sockets:/run/treering"], False)
    assert {COMPOSE["services"][name]["user"] for name in (*SETTINGS, "admin")} == {"10001:10001"}
    for name in SETTINGS:
        host, port = admin["environment"][f"TREERING_{name.upper()}"].split(":")
        assert f"127.0.0.1:{port}:{port}" in COMPOSE["services"][host]["ports"]
    assert "FROM run AS admin\n" in DOCKERFILE
    assert re.search(r"install .*--mode 0700 .*/run/treering\n", DOCKERFILE)


@pytest.mark.parametrize(("name", "extras"), [("ingest", "ingest"), ("embed", "embed,models"), ("query", "query")])
def test_an_image_has_what_its_service_needs(name: str, extras: str) -> None:
    [installed] = re.findall(rf"FROM install AS install-{name}\nRUN ((?:.*\\\n)*.*)\n", DOCKERFILE)
    assert installed.endswith(f'[{extras}]"')
    assert ("torch" in installed) == (name == "embed")
