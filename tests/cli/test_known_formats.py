import json
from pathlib import Path

import pytest

from tests.cli.reading_lines import nanos, one, reader, records
from treering_formats.catalog import CATALOG, Described
from treering_formats.known import FORMATS

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("described", CATALOG, ids=lambda each: each.name)
def test_each_example_of_the_list_is_read_as_what_it_is_an_example_of(described: Described) -> None:
    lines = reader(described.example)
    assert list(lines)
    assert described.name in lines.form.split("+") or (described.name == "otlp" and lines.form == "json")


def test_the_page_has_every_format() -> None:
    page = (ROOT / "docs" / "formats.md").read_text()
    assert all(f"| `{each.name}` |" in page for each in CATALOG)
    assert {each.name for each in FORMATS} <= {each.name for each in CATALOG}


# Web servers


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('2001:db8::7 - - [23/Nov/2026:19:00:00 +0100] "GET /a?b=c HTTP/2.0" 503 0 "-" "M \\"x\\" (bot)"',
         {"client": "2001:db8::7", "method": "GET", "path": "/a?b=c", "protocol": "HTTP/2.0", "status": "503",
          "size": "0", "user_agent": 'M \\"x\\" (bot)'}),
        ('192.0.2.7 - ann lee [23/Nov/2026:18:00:00 +0000] "-" 408 - "-" "-"', {"client": "192.0.2.7", "user": "ann lee", "status": "408"}),
        ('shop.example:443 192.0.2.7 - - [23/Nov/2026:18:00:00 +0000] "GET / HTTP/1.1" 200 7 "https://a/" "curl"',
         {"vhost": "shop.example:443", "client": "192.0.2.7", "method": "GET", "path": "/", "protocol": "HTTP/1.1",
          "status": "200", "size": "7", "referer": "https://a/", "user_agent": "curl"}),
        ('192.0.2.7, 198.51.100.1 - - [23/Nov/2026:18:00:00 +0000] "GET /a b HTTP/1.1" 200 7',
         {"client": "192.0.2.7, 198.51.100.1", "method": "GET", "path": "/a b", "protocol": "HTTP/1.1", "status": "200", "size": "7"}),
        ('192.0.2.7 - - [23/Nov/2026:18:00:00 +0000] "\\x16\\x03\\x01" 400 7 "-" "-" 0.004 "upstream"',
         {"client": "192.0.2.7", "status": "400", "size": "7"}),
    ],
)  # fmt: skip
def test_access_logs(line: str, expected: dict[str, str]) -> None:
    record = one(line)
    assert dict(record.attributes) == expected
    assert record.time_unix_nano == nanos("2026-11-23T18:00:00+00:00")
    assert record.message == line[line.index('"') :]
    assert record.severity == {"5": 17, "4": 13, "2": 9}[expected["status"][0]]


def test_error_logs_of_nginx_and_apache() -> None:
    line = '2026/11/23 18:00:00 [crit] 71#72: *9 no file (2: x), client: 192.0.2.7, server: x, request: "GET /a HTTP/1.1", host: "x"'
    record = one(line)
    assert (record.severity, record.message) == (18, line[27:])
    expected = {
        "pid": "71",
        "tid": "72",
        "connection": "9",
        "client": "192.0.2.7",
        "server": "x",
        "method": "GET",
        "path": "/a",
        "host": "x",
    }
    assert expected.items() <= dict(record.attributes).items()
    apache = one("[Mon Nov 23 18:00:00.139742 2026] [ssl:trace4] [pid 71:tid 9] [client 192.0.2.7:5060] AH01: x")
    assert (apache.severity, apache.time_unix_nano, apache.message) == (
        1, nanos("2026-11-23T18:00:00.139742+00:00"), "[pid 71:tid 9] [client 192.0.2.7:5060] AH01: x",
    )  # fmt: skip
    assert dict(apache.attributes) == {"module": "ssl", "pid": "71", "tid": "9", "client": "192.0.2.7:5060"}


@pytest.mark.parametrize("head", ["", "Nov 23 18:00:01 lb1 haproxy[71]: "])
def test_haproxy(head: str) -> None:
    http = '192.0.2.7:5060 [23/Nov/2026:18:00:00.123] www~ app/web1 0/0/1/7/8 503 512 - - SC-- 1/1/0/0/0 0/0 {a|b} "GET /a HTTP/1.1"'
    record = one(head + http)
    assert (record.severity, record.time_unix_nano) == (17, nanos("2026-11-23T18:00:00.123+00:00"))
    expected = {
        "client": "192.0.2.7",
        "frontend": "www~",
        "backend": "app",
        "server": "web1",
        "status": "503",
        "termination_state": "SC--",
        "path": "/a",
    }
    assert expected.items() <= dict(record.attributes).items()
    assert record.message == http[http.index("www~") :]
    tcp = one(head + "192.0.2.7:5060 [23/Nov/2026:18:00:00.123] db pg/db1 1/0/7 212 -- 1/1/1/1/0 0/0")
    assert {"size": "212", "termination_state": "--"}.items() <= dict(tcp.attributes).items()


# Columns


def test_rows_below_header_lines() -> None:
    text = (
        "#Software: IIS\n#Date: 2026-11-23 17:00:00\n#Fields: date time cs-method cs-uri-stem cs(User-Agent) sc-status\n"
        '2026-11-23 18:00:00 GET /a M/5.0+(X) 404\n#Fields: time date sc-status\n"18:00:01" 2026-11-23 500\n'
        "2026-11-23 18:00:02 too many here\n"
    )
    *heads, first, second, third, fourth = records(text)
    assert [record.time_unix_nano for record in heads] == [0, 0, 0]
    assert (first.time_unix_nano, first.severity, first.message) == (
        nanos("2026-11-23T18:00:00+00:00"),
        13,
        "2026-11-23 18:00:00 GET /a M/5.0+(X) 404",
    )
    assert {"cs-method": "GET", "cs(User-Agent)": "M/5.0+(X)"}.items() <= dict(first.attributes).items()
    assert second.time_unix_nano == 0
    assert (third.severity, third.time_unix_nano) == (17, nanos("2026-11-23T18:00:01+00:00"))
    assert "too many here" in fourth.message


def test_cloudfront_has_tabs() -> None:
    text = "#Version: 1.0\n#Fields: date time x-edge-location sc-bytes\n2026-11-23\t18:00:00\tFRA 1\t7\n"
    record = records(text)[-1]
    assert (record.attributes["x-edge-location"], record.time_unix_nano) == ("FRA 1", nanos("2026-11-23T18:00:00+00:00"))


def test_load_balancers_and_flows_of_aws() -> None:
    alb = 'https 2026-11-23T18:00:00.123456Z app/web/50dc 192.0.2.7:2817 - 0.0 -1 -1 502 - 34 366 "GET https://x:443/ HTTP/1.1" "curl"'
    record = one(alb)
    assert (record.message, record.severity, record.time_unix_nano) == (alb, 17, nanos("2026-11-23T18:00:00.123456+00:00"))
    assert {"client": "192.0.2.7:2817", "elb_status_code": "502", "user_agent": "curl"}.items() <= dict(record.attributes).items()
    flow = "2 123456789010 eni-0a1b 192.0.2.7 192.0.2.8 20641 22 6 20 4249 1795456800 1795456860 REJECT OK"
    assert (one(flow).message, one(flow).time_unix_nano, one(flow).attributes["action"]) == (
        flow,
        nanos("2026-11-23T18:00:00+00:00"),
        "REJECT",
    )
    named = records("version srcaddr dstaddr start action\n5 192.0.2.7 192.0.2.8 1795456800 ACCEPT\n")[-1]
    assert (named.attributes["srcaddr"], named.time_unix_nano) == ("192.0.2.7", nanos("2026-11-23T18:00:00+00:00"))


# Security


@pytest.mark.parametrize(
    ("head", "time", "host"),
    [
        ("", 0, ""),
        ("<134>Nov 23 18:00:00 fw1 ", nanos("2026-11-23T18:00:00+00:00"), "fw1"),
        ("2026-11-23T18:00:00+00:00 fw1 ", nanos("2026-11-23T18:00:00+00:00"), "fw1"),
        ("<134>1 2026-11-23T18:00:00Z fw1 wall - - - ", nanos("2026-11-23T18:00:00+00:00"), "fw1"),
        ("Nov 23 18:00:00 fw1 wall: ", nanos("2026-11-23T18:00:00+00:00"), "fw1"),
    ],
)
def test_cef_is_whole_whatever_stands_before_it(head: str, time: int, host: str) -> None:
    text = r"CEF:0|Acme|Wa\|ll|1.0|100|port scan|7|src=192.0.2.7 msg=five \= ports\nof till 3 cs1Label=a b"
    record = one(head + text)
    assert (record.message, record.severity, record.time_unix_nano) == (text, 17, time)
    expected = {
        "device.product": "Wa|ll",
        "event.name": "port scan",
        "src": "192.0.2.7",
        "msg": "five = ports\nof till 3",
        "cs1Label": "a b",
    }
    assert expected.items() <= dict(record.attributes).items()
    assert record.attributes.get("host", "") == host


def test_the_time_of_a_cef_field_wins_over_the_head() -> None:
    assert one("Nov 23 18:00:00 fw1 CEF:0|a|b|1|2|x|Low|rt=1795456800123").time_unix_nano == 1_795_456_800_123_000_000


@pytest.mark.parametrize(
    "text", ["LEEF:1.0|A|W|1|7|src=192.0.2.7\tsev=8", "LEEF:2.0|A|W|1|7|^|src=192.0.2.7^sev=8", "LEEF:2.0|A|W|1|7|x5E|src=192.0.2.7^sev=8"]
)
def test_leef_in_both_versions(text: str) -> None:
    record = one(text)
    assert (record.message, record.severity, record.attributes["src"]) == (text, 17, "192.0.2.7")


def test_a_sentence_about_cef_is_text() -> None:
    assert one("Nov 23 18:00:00 fw1 app: we speak CEF: and LEEF: here").message.endswith("we speak CEF: and LEEF: here")


def test_the_audit_log() -> None:
    record = one('type=AVC msg=audit(1795456800.123:4711): avc: denied { read } pid=71 comm="sh"')
    assert (record.time_unix_nano, record.attributes["audit.type"], record.attributes["comm"]) == (1_795_456_800_123_000_000, "AVC", "sh")
    assert "denied { read }" in record.message


# logfmt


def test_logfmt() -> None:
    record = one(r'ts=2026-11-23T18:00:00Z lvl=warn msg="a \"till\"\nis stuck" till=3 till=4 empty= flag took=7ms')
    assert (record.message, record.severity, record.time_unix_nano) == ('a "till"\nis stuck', 13, nanos("2026-11-23T18:00:00+00:00"))
    expected = {"till": "4", "treering.duplicate.till": "3", "empty": "", "flag": "true", "took": "7ms"}
    assert dict(record.attributes) == expected


def test_a_message_without_quotes_is_a_sentence() -> None:
    record = one("level=error msg=the till is stuck till=3")
    assert (record.message, record.severity, dict(record.attributes)) == ("the till is stuck", 17, {"till": "3"})


def test_pairs_without_a_message_keep_the_line() -> None:
    line = "till=3 drawer=open amount=7.50"
    record = one(line)
    assert (record.message, dict(record.attributes)) == (line, {"till": "3", "drawer": "open", "amount": "7.50"})


@pytest.mark.parametrize("line", ["a=b is what we teach", "x=1 y", "till=3: it is stuck", 'user=ann said "hello', "=1 b=2 c=3 d=4", "a=1"])
def test_a_sentence_with_an_equals_sign_is_text(line: str) -> None:
    record = one(line)
    assert (record.message, dict(record.attributes)) == (line, {})


# Databases and systems


def test_redis() -> None:
    record = one("71:M 23 Nov 2026 18:00:00.123 # Could not save")
    assert (record.message, record.severity, record.time_unix_nano) == ("Could not save", 13, nanos("2026-11-23T18:00:00.123+00:00"))
    assert dict(record.attributes) == {"pid": "71", "redis.role": "master"}


def test_the_slow_log_of_old() -> None:
    record = one("# Time: 261123 18:00:00\n# User@Host: ann[ann] @ [192.0.2.7]\n# Query_time: 2 Lock_time: 0\nselect 1;\n")
    assert (record.time_unix_nano, record.attributes["client"]) == (nanos("2026-11-23T18:00:00+00:00"), "192.0.2.7")


def test_the_kernel() -> None:
    assert (one("<3>[   12.345678] usb 1-1: stuck").severity, one("<3>[   12.345678] usb 1-1: stuck").message) == (17, "usb 1-1: stuck")
    record = one("kern  :warn  : [   12.345678] [  T71] usb 1-1: slow")
    assert (record.severity, dict(record.attributes)) == (
        13,
        {"syslog.facility": "kern", "kernel.uptime_s": "12.345678", "kernel.task": "T71"},
    )


def test_events_of_windows() -> None:
    xml = (
        "<Event xmlns='x'><System><Provider Name='Till &amp; Co'/><EventID Qualifiers='0'>4625</EventID><Level>3</Level>"
        "<TimeCreated SystemTime='2026-11-23T18:00:00.1234567Z'/><Computer>web1</Computer></System>"
        "<EventData><Data Name='TargetUserName'>ann</Data></EventData></Event>"
    )
    record = one(xml)
    assert (record.message, record.severity, record.time_unix_nano) == (xml, 13, 1_795_456_800_123_456_700)
    expected = {"provider": "Till & Co", "event.id": "4625", "host": "web1", "TargetUserName": "ann"}
    assert dict(record.attributes) == expected
    pretty = xml.replace("><", ">\n<")
    assert [event.message for event in records(f"{pretty}\n{pretty}\n")] == [pretty, pretty]


# Objects


def test_gelf() -> None:
    fields = {
        "version": "1.1",
        "host": "web1",
        "short_message": "stuck",
        "level": 3,
        "timestamp": 1795456800.123,
        "_till": 3,
        "_service": "shop",
    }
    record = one(json.dumps(fields))
    assert (record.message, record.severity, record.service) == ("stuck", 17, "shop")
    assert record.time_unix_nano == 1_795_456_800_123_000_000
    assert {"host": "web1", "till": "3", "version": "1.1"}.items() <= dict(record.attributes).items()
    assert one(json.dumps(fields | {"level": "warn"})).severity == 13
    both = one(json.dumps(fields | {"full_message": "stuck\n\tat x"}))
    assert (both.message, both.attributes["full_message"]) == ("stuck", "stuck\n\tat x")
    del fields["short_message"]
    assert one(json.dumps(fields | {"full_message": "other"})).message == "other"


def test_ecs_nested_and_dotted() -> None:
    for fields in ({"log.level": "error", "service.name": "till"}, {"log": {"level": "error"}, "service": {"name": "till"}}):
        record = one(json.dumps({"@timestamp": "2026-11-23T18:00:00Z", "message": "stuck", "ecs": {"version": "8.11"}} | fields))
        assert (record.message, record.severity, record.service) == ("stuck", 17, "till")


def test_mongodb() -> None:
    record = one('{"t":{"$date":"2026-11-23T18:00:00.123+00:00"},"s":"W","c":"QUERY","id":1,"ctx":"conn7","msg":"slow","attr":{"ms":7}}')
    assert (record.message, record.severity, record.time_unix_nano) == ("slow", 13, nanos("2026-11-23T18:00:00.123+00:00"))
    assert {"c": "QUERY", "ctx": "conn7", "attr.ms": "7"}.items() <= dict(record.attributes).items()


def test_entries_of_google_cloud() -> None:
    base = {"logName": "projects/x/logs/y", "insertId": "7", "timestamp": "2026-11-23T18:00:00Z", "severity": "ERROR"}
    text = one(json.dumps(base | {"textPayload": "stuck", "resource": {"labels": {"container_name": "till"}}}))
    assert (text.message, text.severity, text.service) == ("stuck", 17, "till")
    structured = one(json.dumps(base | {"jsonPayload": {"message": "stuck", "till": 3}}))
    assert (structured.message, structured.attributes["till"]) == ("stuck", "3")
