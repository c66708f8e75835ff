"""Odd records as bytes through the real services: sent, stored, asked for, verified, exported, before and after they are sealed."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.hostile import ALL, SEED, chance
from tests.odd_messages import GIANTS, HEALTHY, batch, broken_record, field, healthy_record, odd_record, unreadable_record
from tests.odd_messages import upload as request
from tests.system.conftest import Up
from treering.v1.ingest_pb2 import UploadLogsResponse

from .conftest import start_up

pytestmark = pytest.mark.system

UPLOADS = 400 if ALL else 150
UNREADABLE = 3


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One of its own, which seals early."""
    settings = {"TREERING_QUERY_HOT_MAX_ROWS": "1000"}
    started = start_up(tmp_path_factory.mktemp("odd") / "data", **settings)
    yield started
    started.kill()


def upload(instance: Up, *records: bytes, empty: int = 0) -> int:
    """Sends one batch of raw records over a call of its own."""
    with grpc.insecure_channel(instance.ready["ingest"]) as channel:
        call = channel.stream_unary("/treering.v1.IngestService/UploadLogs", response_deserializer=UploadLogsResponse.FromString)
        response = call(iter([request(batch(*records, *[field(5, "")] * empty))]), timeout=60)
    assert (response.accepted_count, len(response.rejected_records)) == (len(records), empty)
    return len(records)


@pytest.fixture(scope="module")
def sent(instance: Up) -> int:
    random = chance("odd records")
    count = 0
    for number in range(UPLOADS):
        odd = odd_record(random), odd_record(random)
        count += upload(instance, healthy_record(2 * number), *odd, healthy_record(2 * number + 1), empty=number % 2)
    count += sum(upload(instance, make()) for make in GIANTS.values())
    count += sum(upload(instance, unreadable_record()) for _ in range(UNREADABLE))
    instance.json("send", "-", "--format", "text", "--service", "last", "--wait", given="the last line\n")
    return count + 1


def test_every_record_is_counted_or_set_aside(instance: Up, sent: int) -> None:
    assert instance.sql("select count(*) as n from logs") == [{"n": sent - UNREADABLE}]
    assert instance.sql(f"select count(*) n, count(distinct attributes['a']) a from logs where service = '{HEALTHY}'") == [
        {"n": 2 * UPLOADS, "a": 2 * UPLOADS}
    ]
    (row,) = instance.sql("select count(*) n from logs where len(map_keys(attributes)) <> len(list_distinct(map_keys(attributes)))")
    assert row["n"] == 0
    assert instance.json("status", "--json")["query"]["quarantined_count"] == UNREADABLE


def test_healthy_records_are_found_beside_them(instance: Up, sent: int) -> None:
    assert sent
    found = instance.run("search", "order 7 was paid", "--service", HEALTHY, "--flat", "--json").stdout
    assert "order 7 was paid" in found
    counted = instance.json("aggregate", "--by", "ms", "--service", HEALTHY, "--json")
    assert {row["ms"]: row["count"] for row in counted} == Counter(f"{number % 7}" for number in range(2 * UPLOADS))


def test_log_store_and_index_agree_about_them(instance: Up, sent: int) -> None:
    report = instance.json("verify", "--json")
    assert (report["ok"], report["differences"], report["problems"]) == (True, [], [])
    assert report["end_offset"] == sent


def test_all_of_it_is_exported_and_survives_a_restart(instance: Up, sent: int, tmp_path: Path) -> None:
    for number in range(2):
        for form in ("jsonl", "csv", "parquet"):
            assert (
                instance.json("export", "--out", tmp_path / f"{number}{form}", "--format", form, "--json")["records"] == sent - UNREADABLE
            )
        lines = (tmp_path / f"{number}jsonl" / "logs.jsonl").read_bytes().splitlines()
        assert len({json.loads(line)["offset"] for line in lines}) == sent - UNREADABLE
        instance.restart()
    assert instance.json("verify", "--json")["ok"]


def test_what_is_no_message_is_refused_with_a_reason(instance: Up) -> None:
    for number in range(300 if ALL else 30):
        with pytest.raises(grpc.RpcError, match="not a valid UploadLogsRequest") as refused:
            upload(instance, healthy_record(1), broken_record(chance("broken records", number)))
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT, (SEED, number)
