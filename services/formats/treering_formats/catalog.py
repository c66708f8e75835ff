"""Every format that is read, for people: wrappers, formats of one program, and the general forms, in the order in which they are tried."""

from dataclasses import dataclass

from treering_formats.known import FORMATS


@dataclass(frozen=True)
class Described:
    """A format.

    Attributes:
        kind: `wrapper`, `format` or `general`.
        name: The name under which records in it are counted.
        description: What writes it.
        example: A line in it.
    """

    kind: str
    name: str
    description: str
    example: str


_WRAPPERS = (
    Described(
        "wrapper",
        "docker",
        "Docker's json-file, and Fluent Bit's and Fluentd's records of containers; pieces of one line are joined",
        '{"log":"up\\n","stream":"stdout","time":"2026-11-20T10:00:00.123456789Z"}',
    ),
    Described(
        "wrapper",
        "cri",
        "containerd and CRI-O below /var/log/pods; pieces of one line are joined",
        "2026-11-20T10:00:00.123456789Z stdout F up",
    ),
    Described("wrapper", "compose", "docker compose logs, docker service logs", "web-1  | up"),
    Described("wrapper", "kubectl", "kubectl logs --prefix", "[pod/web-7f9/app] up"),
    Described(
        "wrapper",
        "journald",
        "journalctl -o json and -o export",
        '{"__REALTIME_TIMESTAMP":"1795168800123456","PRIORITY":"3","SYSLOG_IDENTIFIER":"backup","MESSAGE":"disk is full"}',
    ),
    Described(
        "wrapper", "otlp", "OTLP as JSON, of the OpenTelemetry Collector's file exporter and others", '{"resourceLogs":[{"scopeLogs":[]}]}'
    ),
    Described(
        "wrapper", "records", "arrays of objects: CloudTrail and Azure (Records, records), or a JSON array", '[{"msg":"up"},{"msg":"down"}]'
    ),
    Described(
        "wrapper",
        "cloudwatch",
        "subscriptions of CloudWatch Logs",
        '{"logGroup":"/aws/lambda/pay","logEvents":[{"timestamp":1795168800123,"message":"up"}]}',
    ),
    Described(
        "wrapper",
        "loki",
        "Loki's push requests and answers to queries",
        '{"streams":[{"stream":{"app":"web"},"values":[["1795168800123456789","up"]]}]}',
    ),
    Described("wrapper", "elasticsearch", "documents and answers to searches", '{"_index":"logs","_id":"7","_source":{"message":"up"}}'),
)
_GENERAL = (
    Described(
        "general",
        "json",
        "an object on a line, or over several lines, with the usual names",
        '{"time":"2026-11-20T10:00:00Z","level":"info","msg":"up"}',
    ),
    Described("general", "treering old", "the form of an old logger", "message = up | environment = dev | status = INFO"),
    Described(
        "general",
        "text",
        "a time, a level, an origin in the common forms, then words",
        "2026-11-20 10:00:00,123 INFO [main] shop.Cart - up",
    ),
    Described("general", "plain", "any other line, kept as it is", "up and running"),
)

CATALOG: tuple[Described, ...] = (
    *_WRAPPERS,
    *(Described("format", each.name, each.description, each.example) for each in FORMATS if each.description),
    *_GENERAL,
)
"""What `treering formats` lists."""
