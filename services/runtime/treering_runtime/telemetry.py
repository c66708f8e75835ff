"""What a service says about itself: JSON lines on standard error, metrics over HTTP. Never a payload."""

import logging
import sys
from wsgiref.simple_server import WSGIServer

import structlog
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, start_http_server
from structlog.tracebacks import ExceptionDictTransformer

from treering_runtime.errors import StartError


def configure_logging(service: str, level: str) -> None:
    """Sends structlog's events, and warnings of libraries, to standard error as JSON lines with time, level and service."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),  # locals hold payloads
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(service=service)


def new_registry() -> CollectorRegistry:
    """A registry with the process's own figures (memory, CPU, descriptors)."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class MetricsServer:
    """Serves `/metrics` from a thread of its own."""

    def __init__(self, listen: str, registry: CollectorRegistry) -> None:
        host, _, port = listen.rpartition(":")
        try:
            self._server, self._thread = start_http_server(int(port), host, registry)
        except OSError as error:
            raise StartError(f"metrics_listen={listen}: {error.strerror}; choose another port") from error
        assert isinstance(self._server, WSGIServer)  # noqa: S101 - a promise of prometheus_client
        self.address = f"{host}:{self._server.server_port}"

    def close(self) -> None:
        """Stops answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
