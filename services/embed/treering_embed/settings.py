"""Settings of the embedding service: `TREERING_EMBED_<FIELD>` in the environment, or table `embed` of the file."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from treering_runtime.settings import ServiceSettings, names


class EmbedSettings(ServiceSettings):
    """What the embedding service can be told."""

    model_config = SettingsConfigDict(env_prefix="TREERING_EMBED_")
    service: ClassVar[str] = "embed"

    data_dir: Path = Path("treering-data/embed")
    """Directory of the registry, the embedded index and what belongs to it of its model. In one that others own or may write, embed makes
    `embed` for itself."""

    listen: str = Field("127.0.0.1:4702", pattern=r"^.+:\d+$")
    """Where the service answers, host:port. Port 0 takes any free one."""

    metrics_listen: str = Field("127.0.0.1:4712", pattern=r"^.+:\d+$")
    """Where Prometheus finds `/metrics`, host:port. Port 0 takes any free one."""

    model: str = "all-MiniLM-L6-v2"
    """The SentenceTransformer: the packaged `all-MiniLM-L6-v2`; with the extra `models` the path of a saved one, or a name on the hub
    (fetched once). Changing it embeds every pattern anew while search goes on, and overrides what `treering reindex --model` chose."""

    models: str = ""
    """What `treering reindex --model` may choose besides `model`: paths, or names as in `model`, separated by commas. An index whose model
    is not among them any more goes on answering until everything is embedded anew with `model`."""

    encoder: Literal["auto", "reference"] = "auto"
    """`auto` runs the packaged model by OpenVINO, any other by SentenceTransformer; `reference` runs each by SentenceTransformer, which the
    extra `models` installs."""

    threads: int = Field(2, ge=1, le=64)
    """Threads of the model."""

    index: Literal["edge", "server"] = "edge"
    """Where vectors are kept: `edge` in this process under `data_dir`, `server` in a Qdrant server or cluster."""

    qdrant_url: str = Field("http://127.0.0.1:6334", pattern=r"^https?://[^/@]+:\d+/?$")
    """The Qdrant server's gRPC address, only with `index=server`: http(s)://host:port."""

    qdrant_api_key: SecretStr = SecretStr("")
    """Key of the Qdrant server; empty = none. It is never printed: `treering config` shows asterisks in its place."""

    qdrant_collection: str = "treering"
    """Name of the alias that the server's collection is reached by; the collection itself carries the index identity in its name."""

    max_patterns: int = Field(200_000, ge=1, le=500_000)
    """Patterns with a vector. Where they are nearly as many, those that were not seen for longest give way to new ones, and are found by
    keyword only."""

    max_new_patterns_per_day: int = Field(20_000, ge=1)
    """New patterns a service and day (UTC, by this machine's clock) that get a vector: one service must not fill the index."""

    @property
    def allowed_models(self) -> frozenset[str]:
        """The models that may be used: nobody but the operator names a directory of this machine, or what is fetched from the hub."""
        return frozenset((self.model, *names(self.models)))
