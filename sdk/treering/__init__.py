"""Treering's SDK: upload logs, search them by meaning, count them with SQL.

    from treering import Client, LogRecord, log_filter

    with Client() as client:                                     # TREERING_INGEST, _EMBED, _QUERY, else the default ports
        with client.uploader() as upload:                        # batches, resumes, stores each record once
            upload.send(LogRecord(service="checkout", message="payment 4711 timed out", severity=17))
        done = upload.result()                                   # durable now
        found = client.search_logs("customers cannot pay", min_positions=done.positions)
        rows = client.sql("select service, count(*) n from logs group by all").rows()

`AsyncClient` is the same for asyncio, `AdminClient` is for whoever runs the services. Answers are messages of the contract, `treering.v1`.
What is imported here is loaded with its first use, so that services, which need the contract only, load no more than that.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from treering.admin import AdminClient, InnerEndpoints
    from treering.aio import AsyncClient
    from treering.channels import Endpoints
    from treering.client import Client
    from treering.conditions import ConditionError
    from treering.errors import (
        DamagedError,
        InternalError,
        InvalidArgumentError,
        NameResolutionError,
        NoAccessError,
        NotFoundError,
        OverloadedError,
        ProducerError,
        RunningError,
        SqlError,
        TimedOutError,
        TreeringError,
        UnavailableError,
        UnsupportedError,
    )
    from treering.results import SqlResult
    from treering.selection import all_of, any_of, log_filter, none_of
    from treering.severity import severity_name, severity_number
    from treering.upload_state import Rejection, UploadResult
    from treering.uploader import Uploader
    from treering.v1.log_pb2 import LogFilter, LogRecord, Position, Severity, StoredRecord

_HOMES = {
    "AdminClient": "admin",
    "AsyncClient": "aio",
    "Client": "client",
    "ConditionError": "conditions",
    "DamagedError": "errors",
    "Endpoints": "channels",
    "InnerEndpoints": "admin",
    "InternalError": "errors",
    "InvalidArgumentError": "errors",
    "LogFilter": "v1.log_pb2",
    "LogRecord": "v1.log_pb2",
    "NameResolutionError": "errors",
    "NoAccessError": "errors",
    "NotFoundError": "errors",
    "OverloadedError": "errors",
    "Position": "v1.log_pb2",
    "ProducerError": "errors",
    "RunningError": "errors",
    "Rejection": "upload_state",
    "Severity": "v1.log_pb2",
    "SqlError": "errors",
    "SqlResult": "results",
    "StoredRecord": "v1.log_pb2",
    "TimedOutError": "errors",
    "TreeringError": "errors",
    "UnavailableError": "errors",
    "UnsupportedError": "errors",
    "UploadResult": "upload_state",
    "Uploader": "uploader",
    "all_of": "selection",
    "any_of": "selection",
    "log_filter": "selection",
    "none_of": "selection",
    "severity_name": "severity",
    "severity_number": "severity",
}

__all__ = [
    "AdminClient",
    "AsyncClient",
    "Client",
    "ConditionError",
    "DamagedError",
    "Endpoints",
    "InnerEndpoints",
    "InternalError",
    "InvalidArgumentError",
    "LogFilter",
    "LogRecord",
    "NameResolutionError",
    "NoAccessError",
    "NotFoundError",
    "OverloadedError",
    "Position",
    "ProducerError",
    "Rejection",
    "RunningError",
    "Severity",
    "SqlError",
    "SqlResult",
    "StoredRecord",
    "TimedOutError",
    "TreeringError",
    "UnavailableError",
    "UnsupportedError",
    "UploadResult",
    "Uploader",
    "all_of",
    "any_of",
    "log_filter",
    "none_of",
    "severity_name",
    "severity_number",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Python asks here at each use; the import itself is remembered.
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
