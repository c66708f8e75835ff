"""What the query service can be told."""

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from treering_runtime.settings import ServiceSettings

# Sizes are given in bytes everywhere; this makes the defaults readable.
_MIB = 1024 * 1024


class QuerySettings(ServiceSettings):
    """Settings of the query service, from `TREERING_QUERY_...` or the table `[query]` of the TOML file."""

    model_config = SettingsConfigDict(env_prefix="TREERING_QUERY_")
    # The name of the table in the TOML file, and of the service in its logs.
    service: ClassVar[str] = "query"
    # 2: statistics of segments are objects beside them. A program of format 1 would delete those as files of no segment.
    format_version: ClassVar[int] = 2

    data_dir: Path = Path("treering-data/query")
    """Directory of segments and catalog; created with mode 0700. Nothing is written elsewhere. In one that others own or may write, query
    makes `query` for itself."""

    listen: str = Field("127.0.0.1:4703", pattern=r"^.+:\d+$")
    """Where the service answers, host:port. Port 0 takes any free one. Stays on loopback unless told otherwise: there is no password."""

    metrics_listen: str = Field("127.0.0.1:4713", pattern=r"^.+:\d+$")
    """Where Prometheus finds `/metrics`, host:port. Port 0 takes any free one."""

    embed_address: str = "unix:treering-data/embed/inner/s"
    """Where the embed service is reached, as its own `inner_listen`: searches by meaning ask it."""

    hot_max_rows: int = Field(500_000, ge=1)
    """Records in memory before they are sealed. While one lot is sealed, a second one may gather: twice this is the most."""

    hot_max_bytes: int = Field(128 * _MIB, ge=1)
    """Bytes of records in memory before they are sealed; twice this is the most, as above."""

    hot_max_age_s: float = Field(900.0, gt=0)
    """Age of the oldest record in memory before all are sealed, seconds: the log keeps what is not sealed."""

    retention_age_s: float = Field(0.0, ge=0)
    """How long records are kept, seconds of a clock that cannot leap; a segment goes so long after it was sealed. 0 keeps them for ever."""

    retention_service_age_s: dict[str, Annotated[float, Field(ge=0)]] = Field({})
    """The same for single services, as JSON: {"checkout": 604800, "debug-proxy": 86400}. A segment is rewritten without their records."""

    retention_max_bytes: int = Field(0, ge=0)
    """Most bytes of all segments together; the oldest go first. 0 is no bound. Records in memory come on top."""

    upkeep_interval_s: float = Field(60.0, gt=0)
    """How often the store looks for segments to drop, rewrite or merge, seconds. Files that were replaced stay for so long."""

    query_threads: int = Field(2, ge=1)
    """Threads of the database for typed queries together."""

    query_memory_bytes: int = Field(1024 * _MIB, ge=64 * _MIB)
    """Memory of the database for typed queries together, bytes. Larger sorts and groupings go to disk, up to four times this."""

    query_max_running: int = Field(4, ge=1)
    """Typed queries that run at a time."""

    query_max_waiting: int = Field(64, ge=0)
    """Typed queries that may wait for their turn; more are refused with RESOURCE_EXHAUSTED."""

    query_timeout_s: float = Field(60.0, gt=0)
    """Longest time of a typed query, seconds; the call's own deadline may be nearer."""

    export_max_running: int = Field(4, ge=1)
    """Exports that run at a time: each holds a few MiB of memory, and its segments."""

    export_max_waiting: int = Field(16, ge=0)
    """Exports that may wait for their turn, half a minute at most; more are refused with RESOURCE_EXHAUSTED."""

    follow_max_running: int = Field(256, ge=1)
    """Tails and watches at a time, together; more are refused with RESOURCE_EXHAUSTED."""

    sql_threads: int = Field(2, ge=1)
    """Threads of one SQL query's process."""

    sql_memory_bytes: int = Field(512 * _MIB, ge=64 * _MIB)
    """Memory of one SQL query's process beyond what it starts with, bytes; nothing goes to disk."""

    sql_max_running: int = Field(3, ge=1)
    """SQL queries that run at a time, each in a process of its own; one caller runs one less, so that another one's begins at once."""

    sql_max_waiting: int = Field(32, ge=0)
    """SQL queries that may wait for their turn; more are refused with RESOURCE_EXHAUSTED."""

    sql_max_result_bytes: int = Field(256 * _MIB, ge=1)
    """Bytes of one SQL result; what is beyond is cut off, and the summary says `truncated`."""
