"""Rows of columns: W3C and IIS with their header lines, CloudFront, AWS load balancers, VPC flow logs, S3 access."""

import re
import string

from treering_formats.instants import epoch
from treering_formats.known.quoting import words
from treering_formats.known.reading import DIGITS, Context, Reading, TextFormat, named
from treering_formats.known.web import moment, status_severity
from treering_formats.times import any_time

_ALB_COLUMNS = (
    "type time elb client target request_processing_time target_processing_time response_processing_time elb_status_code "
    "target_status_code received_bytes sent_bytes request user_agent ssl_cipher ssl_protocol target_group_arn trace domain_name "
    "chosen_cert_arn matched_rule_priority request_creation_time actions_executed redirect_url error_reason targets "
    "target_status_codes classification classification_reason"
)
_VPC_COLUMNS = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status"
_S3_COLUMNS = (
    "bucket_owner bucket time remote_ip requester request_id operation key request status error_code bytes_sent object_size "
    "total_time turn_around_time referer user_agent version_id host_id signature cipher authentication host tls access_point"
)
_S3_TIME = re.compile(r"\[(\d\d)/(\w{3})/(\d{4}):(\d\d):(\d\d):(\d\d)(\.\d+)? ([+-]\d{4})\]")
_STATUS = ("sc-status", "elb_status_code", "status")
_FLOW_NAMES = frozenset(_VPC_COLUMNS.split())
_LEAST_FLOW_COLUMNS = 3


def _header(line: str, context: Context) -> Reading | None:
    """Takes the names of the columns out of a header line, which stays a record without a time."""
    name, _, value = line[1:].partition(":")
    found: dict[str, str] = {}
    if name == "Fields":
        context.columns, context.is_tabbed = tuple(value.split()), "\t" in value.strip()
    elif name:
        found[f"w3c.{name.lower()}"] = value.strip()
    return Reading(line, attributes=found)


def _flow_header(line: str, context: Context) -> Reading | None:
    """The line of names with which a file of VPC flow logs begins."""
    names = line.split()
    if len(_FLOW_NAMES.intersection(names)) < _LEAST_FLOW_COLUMNS:
        return None
    context.columns, context.is_tabbed = tuple(names), False
    return Reading(line)


def row(line: str, context: Context) -> Reading | None:
    """A row below a header; None when it has another number of columns. The message is the line as it is."""
    values = line.split("\t") if "\t" in line else words(line)
    if not context.columns or len(values) != len(context.columns) or line.startswith("#"):
        return None
    found = named(context.columns, values)
    return Reading(line, _time_of(found), _severity_of(found), found)


def _time_of(found: dict[str, str]) -> int:
    """The time of a row; 0 without one."""
    if "date" in found and "time" in found:
        return any_time(f"{found['date']} {found['time'].strip(chr(34))}") or 0
    if "start" in found:
        return _seconds(found["start"])
    return any_time(found.get("time", "")) or any_time(found.get("timestamp", "")) or 0


def _seconds(text: str) -> int:
    return (epoch(int(text)) or 0) if text.isascii() and text.isdigit() and len(text) < 12 else 0


def _severity_of(found: dict[str, str]) -> int:
    status = next((found[name] for name in _STATUS if name in found), "")
    return status_severity(status) if status.isascii() and status.isdigit() and len(status) == 3 else 0


def _load_balancer(line: str, _context: Context) -> Reading | None:
    found = named(tuple(_ALB_COLUMNS.split()), words(line))
    time = any_time(found.pop("time", ""))
    return Reading(line, time, _severity_of(found) or 9, found) if time else None


def _classic_balancer(line: str, context: Context) -> Reading | None:
    return _load_balancer(f"http {line}", context)


def _flow(line: str, _context: Context) -> Reading | None:
    found = named(tuple(_VPC_COLUMNS.split()), line.split())
    time = _seconds(found.get("start", ""))
    return Reading(line, time, 9, found) if time or "start" not in found else None


def _s3(line: str, _context: Context) -> Reading | None:
    match = _S3_TIME.search(line)
    if not match:
        return None
    *parts, zone = match.groups()
    found = named(tuple(_S3_COLUMNS.split()), words(line))
    time = moment(tuple(parts), zone)
    del found["time"]
    return Reading(line, time, _severity_of(found) or 9, found) if time else None


FORMATS = (
    TextFormat(
        "w3c",
        "W3C extended log, IIS, CloudFront: rows below lines such as #Fields:",
        "#Fields: date time cs-method cs-uri-stem sc-status",
        "#",
        r"#(?:Software|Version|Date|Fields|Start-Date|End-Date|Remark|GMT-Offset): ?",
        _header,
    ),
    TextFormat(
        "aws alb",
        "access log of AWS load balancers",
        'h2 2026-11-20T10:00:00.123456Z app/web/50dc 192.0.2.7:281 10.0.0.1:80 0 0.1 0 502 502 34 366 "GET https://x:443/ HTTP/2" "curl"',
        "hgwt",
        r"(?:https?|h2|grpcs?|wss?|tls|tcp) \d{4}-\d\d-\d\dT[\d:.]+Z? (?:app|net)/",
        _load_balancer,
    ),
    TextFormat(
        "aws elb",
        "access log of classic AWS load balancers",
        '2026-11-20T10:00:00.123456Z web 192.0.2.7:2817 10.0.0.1:80 0.0 0.1 0.0 200 200 0 29 "GET http://x:80/ HTTP/1.1" "curl/8" - -',
        DIGITS,
        r"\d{4}-\d\d-\d\dT[\d:.]++Z \S++ [\w.:\[\]-]++ [\w.:\[\]-]++ -?[\d.]++ -?[\d.]++ -?[\d.]++ ",
        _classic_balancer,
    ),
    TextFormat(
        "aws vpc flow",
        "AWS VPC flow logs, with or without a line of names",
        "2 123456789010 eni-0a1b2c3d 172.31.16.139 172.31.16.21 20641 22 6 20 4249 1795168800 1795168860 ACCEPT OK",
        DIGITS,
        r"\d \d{12} eni-[\da-f]+ ",
        _flow,
    ),
    TextFormat(
        "aws vpc flow",
        "",
        "",
        string.ascii_lowercase,
        r"(?:version|account-id|interface-id|srcaddr|vpc-id|az-id|instance-id|action|start) [a-z]",
        _flow_header,
    ),
    TextFormat(
        "aws s3",
        "access log of S3",
        '79a5 shop [20/Nov/2026:10:00:00 +0000] 192.0.2.7 79a5 3E57 REST.GET.OBJECT a.png "GET /a.png HTTP/1.1" 200 - 113 9 7 6 "-" "-" -',
        DIGITS + "abcdef",
        r"[\da-f]++ \S++ \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] \S++ \S++ \S++ [A-Z]+\.",
        _s3,
    ),
)
