import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.reading_lines import NOW, messages, nanos, one, reader, records
from treering_cli.send_report import FileReport
from treering_formats.joining import limits
from treering_formats.records import RecordReader
from treering_formats.wrappers.kubernetes import path_origin


def docker(text: str, stream: str = "stdout", time: str = "2026-11-23T18:00:00.123456789Z", **more: dict[Any, Any]) -> str:
    return json.dumps({"log": text, "stream": stream, "time": time} | more)


def cri(text: str, stream: str = "stdout", tag: str = "F", time: str = "2026-11-23T18:00:00.123456789Z") -> str:
    return f"{time} {stream} {tag} {text}"


# Docker and CRI


def test_the_text_of_docker_is_the_message() -> None:
    record = one(docker("till opens\r\n", attrs={"tag": "web", "labels": {"a": "b"}}))
    assert (record.message, record.time_unix_nano) == ("till opens", 1_795_456_800_123_456_789)
    assert dict(record.attributes) == {"stream": "stdout", "attrs.tag": "web", "attrs.labels.a": "b"}


@pytest.mark.parametrize("wrap", [docker, lambda text, **more: cri(text.rstrip("\n"), **more)])
def test_what_the_inner_text_says_wins(wrap: Callable[..., str]) -> None:
    inner = wrap('{"level":"error","msg":"stuck","time":"2026-11-23T17:00:00Z","stream":"of cash"}\n', stream="stderr")
    record = one(inner)
    assert (record.message, record.severity, record.time_unix_nano) == ("stuck", 17, nanos("2026-11-23T17:00:00+00:00"))
    assert record.attributes["stream"] == "of cash"
    assert {"docker.stream", "cri.stream"} & set(record.attributes)
    text = one(wrap("E1123 17:30:00.5 7 till.go:17] stuck\n"))
    assert (text.severity, text.time_unix_nano) == (17, nanos("2026-11-23T17:30:00.5+00:00"))


def test_a_date_without_a_year_is_near_the_time_of_the_runtime() -> None:
    record = one(cri("I0301 17:30:00 7 till.go:17] opens", time="2019-03-01T17:30:00.1Z"))
    assert record.time_unix_nano == nanos("2019-03-01T17:30:00+00:00")


def test_pieces_of_a_line_are_joined() -> None:
    pieces = [docker("one, ", time="2026-11-23T18:00:01Z"), docker("two, "), docker("three\n"), docker("next\n")]
    lines = reader("\n".join(pieces))
    first, second = list(lines)
    assert (first[0], first[1].message, second[0]) == (1, "one, two, three", 4)
    assert first[1].time_unix_nano == nanos("2026-11-23T18:00:01+00:00")
    assert lines.joined == 2
    assert messages("\n".join([cri("one, ", tag="P"), cri("two", tag="F"), cri("three", tag="F:x")])) == ["one, two", "three"]


def test_two_streams_in_one_file_are_kept_apart() -> None:
    text = "\n".join(
        [
            cri("2026-11-23 18:00:00 ERROR stuck"),
            cri("one, ", "stderr", "P"),
            cri("shop.Stuck: drawer"),
            cri("two", "stderr"),
            cri("\tat shop.Till.open(Till.java:17)"),
            cri("Traceback (most recent call last):", "stderr"),
            cri("2026-11-23 18:00:01 INFO next"),
            cri('  File "till.py", line 1, in x', "stderr"),
            cri("Stuck", "stderr"),
        ]
    )
    lines = reader(text)
    found = [(number, record.message, record.attributes["stream"]) for number, record in lines]
    assert found[0] == (1, "stuck\nshop.Stuck: drawer\n\tat shop.Till.open(Till.java:17)", "stdout")
    assert found[1][:2] == (2, 'one, two\nTraceback (most recent call last):\n  File "till.py", line 1, in x\nStuck')
    assert [number for number, *_ in found] == sorted(number for number, *_ in found)
    assert (lines.joined, lines.lines) == (6, 9)


def test_a_stream_that_went_silent_holds_the_other_only_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("treering_formats.joining.joiner.MAX_HELD_EVENTS", 5)
    lines = reader("\n".join([cri("quiet"), *(cri(f"INFO till {number}", "stderr") for number in range(20))]))
    records = iter(lines)
    assert next(records)[1].message == "quiet"
    assert lines.lines < 10


def test_lanes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("treering_formats.joining.joiner.MAX_LANES", 2)
    text = "\n".join(f"web-{number % 5}  | till {number}" for number in range(20))
    assert messages(text) == [f"till {number}" for number in range(20)]


def test_a_line_in_endless_pieces_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("treering_formats.joining.joiner.MAX_EVENT_CHARACTERS", 100)
    found = messages("\n".join(cri("x" * 30, tag="P") for _ in range(8)))
    assert max(map(len, found)) <= 150
    assert sum(map(len, found)) == 240
    assert limits.MAX_EVENT_CHARACTERS == 256 * 1024


def test_plain_lines_inside_a_wrapper_are_told_as_plain() -> None:
    lines = reader("\n".join([docker("up\n"), docker("2026-11-23 18:00:00 INFO up\n"), '{"msg":"up"}', "up"]))
    list(lines)
    report = FileReport("file")
    report.take(lines)
    assert dict(lines.forms) == {"docker+plain": 1, "docker+text": 1, "json": 1, "plain": 1}
    assert (report.plain, lines.records) == (2, 4)


def test_blank_lines_of_a_container_make_no_record() -> None:
    lines = reader("\n".join([docker("\n"), docker("up\n"), docker(" \n")]))
    assert [record.message for _, record in lines] == ["up"]
    assert lines.blank == 2


@pytest.mark.parametrize("collector", ["fluent bit", "fluentd"])
def test_what_collectors_make_of_docker_is_opened(collector: str) -> None:
    kubernetes = {"kubernetes": {"pod_name": "till-7", "container_name": "till", "namespace_name": "shop"}}
    mark = {"logtag": "F"} if collector == "fluent bit" else {}
    record = one(json.dumps({"log": "stuck", "stream": "stderr", "time": "2026-11-23T18:00:00Z"} | mark | kubernetes))
    assert (record.message, record.service, record.attributes["kubernetes.pod_name"]) == ("stuck", "till", "till-7")


def test_an_object_with_a_log_that_is_no_container_stays() -> None:
    assert dict(one('{"msg":"up","log":"book"}').attributes) == {"log": "book"}
    assert one('{"log":"up","stream":"video"}').attributes["stream"] == "video"


def test_prefixes_of_compose_and_kubectl_name_services_and_lanes() -> None:
    up = "db-1   | 2026-11-23 18:00:00 INFO up\n"
    text = f"web-1  | 2026-11-23 18:00:00 ERROR stuck\n{up}web-1  | shop.Stuck: x\n{up}"
    found = [(record.service, record.message, record.attributes["container.name"]) for record in records(text)]
    assert found == [("web", "stuck\nshop.Stuck: x", "web-1"), ("db", "up", "db-1"), ("db", "up", "db-1")]
    record = one("[pod/till-7f9/app] INFO up")
    assert (record.service, record.message, record.attributes["k8s.pod.name"]) == ("app", "up", "till-7f9")
    assert messages(" id | name\n----+-----\n 1  | till\n")[0].startswith(" id | name")


def test_format_text_opens_nothing() -> None:
    assert one(cri("up"), "text").message.endswith("stdout F up")
    assert one(docker("up\n"), "text").message == docker("up\n")


# Kubernetes


@pytest.mark.parametrize(
    "path",
    [
        "/var/log/pods/shop_till-7f9-x2_0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f/app/3.log",
        "pods/shop_till-7f9-x2_0a1b2c3d0a1b0a1b0a1b0a1b2c3d4e5f/app/3.log.20261123-180000.gz",
        f"/var/log/containers/till-7f9-x2_shop_app-{'0a' * 32}.log",
    ],
)
def test_paths_of_kubernetes_say_whose_lines_they_have(path: str) -> None:
    origin = path_origin(path)
    assert (origin.service, origin.environment) == ("app", "shop")
    named = {"k8s.namespace.name": "shop", "k8s.pod.name": "till-7f9-x2", "k8s.container.name": "app"}
    assert named.items() <= dict(origin.attributes).items()
    record = one(cri("up"), service=origin.service, environment=origin.environment, attributes=origin.attributes)
    assert (record.service, record.environment, record.attributes["k8s.pod.name"]) == ("app", "shop", "till-7f9-x2")


@pytest.mark.parametrize("path", ["app.log", "/var/log/pods/x.log", "/var/log/containers/a_b_c.log"])
def test_other_paths_say_nothing(path: str) -> None:
    assert path_origin(path) is None


# The journal

ENTRY = {"__CURSOR": "s=1", "__REALTIME_TIMESTAMP": "1795456800123456", "PRIORITY": "3", "_HOSTNAME": "web1", "_PID": "71"}


def test_entries_of_the_journal() -> None:
    record = one(json.dumps(ENTRY | {"SYSLOG_IDENTIFIER": "till", "MESSAGE": "stuck"}))
    assert (record.message, record.severity, record.service) == ("stuck", 17, "till")
    assert record.time_unix_nano == 1_795_456_800_123_456_000
    assert {"_HOSTNAME": "web1", "_PID": "71", "SYSLOG_IDENTIFIER": "till"}.items() <= dict(record.attributes).items()
    unit = one(json.dumps(ENTRY | {"_SYSTEMD_UNIT": "till.service", "MESSAGE": list("grün\n".encode()), "_COMM": "sh"}))
    assert (unit.message, unit.service) == ("grün\n", "till")


def test_an_entry_without_a_text_is_kept() -> None:
    record = one(json.dumps(ENTRY | {"MESSAGE": None}))
    assert "web1" in record.message
    assert record.attributes["_HOSTNAME"] == "web1"


def test_the_standard_output_of_a_service_is_joined_and_syslog_is_not() -> None:
    lines = ["Traceback (most recent call last):", '  File "till.py", line 1, in x', "Stuck"]
    stdout = "\n".join(json.dumps(ENTRY | {"_TRANSPORT": "stdout", "_STREAM_ID": "7", "MESSAGE": line}) for line in lines)
    assert messages(stdout) == ["\n".join(lines)]
    syslog = "\n".join(json.dumps(ENTRY | {"_TRANSPORT": "syslog", "MESSAGE": line}) for line in lines)
    assert messages(syslog) == lines


def binary(name: bytes, data: bytes) -> bytes:
    return name + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"


EXPORT = (
    b"__CURSOR=s=1\n__REALTIME_TIMESTAMP=1795456800123456\nPRIORITY=3\nSYSLOG_IDENTIFIER=till\n"
    + binary(b"MESSAGE", b"stuck\n\nMESSAGE=no\0 \xff" + b"x" * 10)
    + b"TAG=a\nTAG=b\n\n__CURSOR=s=2\nMESSAGE=a=b\n\n"
)


def test_the_export_format_of_the_journal_is_read_byte_by_byte() -> None:
    first, second = records(EXPORT)
    assert (first.message, first.service, first.severity) == ("stuck\n\nMESSAGE=no\0 \ufffd" + "x" * 10, "till", 17)
    assert first.attributes["TAG"] == "a\nb"
    assert second.message == "a=b"


@pytest.mark.parametrize("length", range(0, len(EXPORT), 7))
def test_a_cut_export_ends_without_an_error(length: Callable[[range], int]) -> None:
    for record in records(EXPORT[:length]):
        assert record.SerializeToString()


def test_an_export_that_arrives_slowly_is_whole() -> None:
    class Slow:
        def __init__(self) -> None:
            self._left, self._turn = EXPORT, 0

        def readline(self, size: int) -> bytes | None:
            self._turn += 1
            if self._turn % 2:
                return None
            end = min(size, self._left.find(b"\n") + 1 or len(self._left))
            line, self._left = self._left[:end], self._left[end:]
            return line

    lines = RecordReader(Slow(), service="", environment="", fmt="auto", now=NOW)
    assert [record.message for number, record in lines if number][1] == "a=b"


# OTLP

OTLP = {
    "resourceLogs": [
        {
            "resource": {
                "attributes": [
                    {"key": "service.name", "value": {"stringValue": "till"}},
                    {"key": "deployment.environment.name", "value": {"stringValue": "prod"}},
                    {"key": "host.name", "value": {"stringValue": "web1"}},
                ]
            },
            "scopeLogs": [
                {
                    "scope": {"name": "shop.till", "version": "1"},
                    "logRecords": [
                        {
                            "timeUnixNano": "1795456800123456789",
                            "severityNumber": 17,
                            "severityText": "Error",
                            "body": {"stringValue": "stuck"},
                            "attributes": [
                                {"key": "till", "value": {"intValue": "9007199254740993"}},
                                {"key": "host.name", "value": {"stringValue": "inner"}},
                                {"key": "list", "value": {"arrayValue": {"values": [{"intValue": 1}, {"stringValue": "a"}]}}},
                                {"key": "http", "value": {"kvlistValue": {"values": [{"key": "status", "value": {"intValue": 5}}]}}},
                            ],
                            "traceId": "AB" * 16,
                            "spanId": "cd" * 8,
                        },
                        {"observedTimeUnixNano": 1795456800000000000, "body": {"kvlistValue": {"values": [
                            {"key": "msg", "value": {"stringValue": "from a map"}}, {"key": "till", "value": {"boolValue": True}}]}}},
                        {"severityText": "warn", "eventName": "till.opened"},
                    ],
                }
            ],
        }
    ]
}  # fmt: skip


def test_otlp_as_json() -> None:
    first, second, third = records(json.dumps(OTLP))
    assert (first.message, first.severity, first.service, first.environment) == ("stuck", 17, "till", "prod")
    assert (first.time_unix_nano, first.trace_id, first.span_id) == (1_795_456_800_123_456_789, b"\xab" * 16, b"\xcd" * 8)
    assert {"till": "9007199254740993", "host.name": "inner", "resource.host.name": "web1", "http.status": "5"}.items() <= dict(
        first.attributes
    ).items()
    assert json.loads(first.attributes["list"]) == [1, "a"]
    assert (second.message, second.attributes["till"], second.time_unix_nano) == ("from a map", "true", 1_795_456_800_000_000_000)
    assert (third.message, third.severity, third.attributes["otel.scope.name"]) == ("till.opened", 13, "shop.till")


def test_otlp_with_the_names_of_protobuf() -> None:
    value = {
        "resource_logs": [
            {"scope_logs": [{"log_records": [{"time_unix_nano": "5", "body": {"string_value": "up"}, "trace_id": "q" * 22 + "=="}]}]}
        ]
    }
    record = one(json.dumps(value))
    assert (record.message, record.time_unix_nano, len(record.trace_id)) == ("up", 5, 16)


@pytest.mark.parametrize("value", [[], {}, [1], [{"scopeLogs": 1}], "x", [{"scopeLogs": [{"logRecords": [1]}]}]])
def test_what_only_looks_like_otlp_is_an_object(
    value: list[int] | list[dict[str, int]] | str | list[dict[str, list[dict[str, list[int]]]]],
) -> None:
    record = one(json.dumps({"resourceLogs": value, "msg": "up"}))
    assert record.message == "up"


# Arrays


def test_records_arrays_are_opened() -> None:
    events = [
        {"eventTime": "2026-11-23T18:00:00Z", "eventSource": "s3.amazonaws.com", "eventName": "GetObject", "n": number} for number in (1, 2)
    ]
    first, second = records(json.dumps({"Records": events}))
    assert (first.service, first.time_unix_nano, first.attributes["eventName"]) == ("s3", nanos("2026-11-23T18:00:00+00:00"), "GetObject")
    assert second.attributes["n"] == "2"
    assert json.loads(first.message) == events[0]
    azure = {"records": [{"time": "2026-11-23T18:00:00Z", "level": "Error", "category": "x", "msg": "stuck"}], "source": "hub"}
    assert (one(json.dumps(azure)).severity, one(json.dumps(azure)).attributes["source"]) == (17, "hub")


def test_failed_events_of_cloudtrail_are_errors() -> None:
    event = {"eventTime": "2026-11-23T18:00:00Z", "eventSource": "s3.amazonaws.com", "errorCode": "AccessDenied"}
    assert one(json.dumps(event)).severity == 17


def test_subscriptions_of_cloudwatch_are_lines() -> None:
    lines = ["2026-11-23T18:00:00Z ERROR stuck\n", "shop.Stuck: x\n", "2026-11-23T18:00:01Z INFO next\n"]
    events = [{"id": str(number), "timestamp": 1795456800123, "message": line} for number, line in enumerate(lines)]
    found = records(json.dumps({"logGroup": "/aws/lambda/till", "logStream": "s", "logEvents": events}))
    assert [(record.message, record.service) for record in found] == [("stuck\nshop.Stuck: x", "till"), ("next", "till")]


@pytest.mark.parametrize("shape", [lambda streams: {"streams": streams}, lambda streams: {"status": "ok", "data": {"result": streams}}])
def test_streams_of_loki_are_lines(shape: Any) -> None:
    streams = [{"stream": {"app": "till", "env": "prod"}, "values": [["1795456800123456789", "level=error msg=stuck", {"trace": "7"}]]}]
    record = one(json.dumps(shape(streams)))
    assert (record.message, record.severity, record.service, record.environment) == ("stuck", 17, "till", "prod")
    assert (record.time_unix_nano, record.attributes["trace"]) == (1_795_456_800_123_456_789, "7")


def test_documents_of_elasticsearch_are_opened() -> None:
    document = {"_index": "logs", "_id": "7", "_source": {"message": "stuck", "log": {"level": "error"}}}
    assert (one(json.dumps(document)).message, one(json.dumps(document)).severity) == ("stuck", 17)
    answer = {"took": 1, "hits": {"total": 1, "hits": [document]}}
    assert (one(json.dumps(answer)).message, one(json.dumps(answer)).attributes["_id"]) == ("stuck", "7")


def test_wrappers_in_wrappers_are_opened() -> None:
    inner = json.dumps({"Records": [{"msg": "one"}, {"msg": "two"}]})
    assert messages(docker(inner + "\n")) == ["one", "two"]
