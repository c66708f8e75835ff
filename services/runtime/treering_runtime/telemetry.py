"""What a service says about itself: JSON lines on standard error, and what it counts. Never a payload."""

import logging
import sys

import structlog
from prometheus_client import CollectorRegistry, GCCollector, Histogram, PlatformCollector, ProcessCollector
from structlog.tracebacks import ExceptionDictTransformer

from treering_runtime.clocks import wall_ns


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
        # Not cached: tests configure the loggers anew that modules made at their import.
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(service=service)


def new_registry() -> CollectorRegistry:
    """A registry with the process's own figures (memory, CPU, descriptors)."""
    # Of its own: the library's global registry holds whatever any import put there.
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class Freshness:
    """How old records are when something becomes true of them: seconds from their arrival in the log, by the wall clocks of both machines.

    Args:
        name: Of the histogram.
        meaning: What becomes true.
        registry: Where it is shown.
    """

    _BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0)

    def __init__(self, name: str, meaning: str, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(name, f"From arrival in the log until {meaning}", buckets=self._BUCKETS_S, registry=registry)

    def reached(self, arrival_time_unix_nano: int) -> None:
        """It is true now of what arrived then."""
        # Two machines, two clocks: a difference below zero is the clocks', not the record's.
        self._seconds.observe(max(0.0, (wall_ns() - arrival_time_unix_nano) / 1e9))
