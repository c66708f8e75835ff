"""Settings of ingest."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field
from pydantic_settings import NoDecode, SettingsConfigDict

from treering.inner import InnerAddress, InnerPlaneError
from treering_runtime.settings import ServiceSettings


class Durability(StrEnum):
    """What an acknowledgement means."""

    ALWAYS = "always"
    """The records are on disk, file and directory entry: they survive a power cut."""

    INTERVAL = "interval"
    """The records are written: they survive the end of the process, but a power cut may lose those of the last `sync_interval_ms`."""


def _checked_sinks(text: str) -> str:
    # Only checked, so that a wrong one is named with the other settings. `process` parses it where it is used.
    parse_sinks(text)
    return text


def parse_sinks(text: str) -> dict[str, str]:
    """`name=address` pairs, separated by commas, as a mapping from name to address.

    Raises:
        ValueError: A pair is malformed, or a name or an address is there twice.
    """
    sinks: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, _, address = pair.partition("=")
        if not name or not _is_address(address) or name in sinks:
            problem = "is not name=unix:PATH or name=host:port, or the name is there twice"
            raise ValueError(f"{pair!r} {problem}; write for example query=unix:/run/treering/query/s")
        if address in sinks.values():  # one sink under two names would end its own delivery, again and again
            raise ValueError(f"{pair!r}: the address is there twice; name each sink once")
        sinks[name] = address
    return sinks


def _is_address(text: str) -> bool:
    try:
        InnerAddress.parse(text)
    except InnerPlaneError:
        return False
    return True


class IngestSettings(ServiceSettings):
    """What ingest can be told."""

    model_config = SettingsConfigDict(env_prefix="TREERING_INGEST_")
    service: ClassVar[str] = "ingest"

    data_dir: Path = Path("treering-data/ingest")
    """Directory that ingest owns; created with mode 0700. The log is in `wal` below it. In one that others own or may write, it makes
    `ingest` for itself."""

    listen: str = Field("127.0.0.1:4701", pattern=r"^.+:\d+$")
    """Where records come in, host:port. Port 0 takes any free one. Stays on loopback unless told otherwise: there is no password."""

    metrics_listen: str = Field("127.0.0.1:4711", pattern=r"^.+:\d+$")
    """Where Prometheus finds `/metrics`, host:port. Port 0 takes any free one."""

    sinks: Annotated[str, NoDecode, AfterValidator(_checked_sinks)] = (
        "embed=unix:treering-data/embed/inner/s,query=unix:treering-data/query/inner/s"
    )
    """Who gets the log: name=ADDRESS, separated by commas, each ADDRESS as the `inner_listen` of that service; a comma in a path is `%2C`,
    a percent sign `%25`. Empty = nobody, the log only grows."""

    durability: Durability = Durability.ALWAYS
    """What an acknowledgement means: `always` = on disk; `interval` = written, on disk within `sync_interval_ms`."""

    sync_interval_ms: int = Field(200, ge=1, le=60_000)
    """With durability `interval`: longest time between syncs, milliseconds. A power cut may lose what was acknowledged in it."""

    linger_ms: float = Field(20.0, ge=0, le=1_000)
    """How long a batch is kept back, while its sender is still sending and waits for no answer, so that more share a sync, milliseconds."""

    segment_bytes: int = Field(64 * 1024 * 1024, ge=1_024, le=1024 * 1024 * 1024)
    """Size at which a segment of the log is sealed, bytes."""

    retain_min_seconds: float = Field(900.0, ge=0)
    """A sealed segment stays at least so long, seconds, even if no sink needs it any more; not while the disk is low."""

    retain_min_bytes: int = Field(256 * 1024 * 1024, ge=0)
    """The log keeps at least so many bytes of what no sink needs any more; not while the disk is low."""

    disk_reserve_bytes: int = Field(512 * 1024 * 1024, ge=0)
    """Below this many free bytes on the log's disk nothing is accepted, so that sinks can go on working."""
