"""How many answers without an end, or with a far one, the settings allow."""

from dataclasses import dataclass

from treering_query.settings import QuerySettings


@dataclass(frozen=True)
class StreamBounds:
    """How many answers without an end, or with a far one, there may be."""

    exports_running: int = 4
    exports_waiting: int = 16
    followers: int = 256
    """Tails and watches together."""

    @classmethod
    def from_settings(cls, settings: QuerySettings) -> "StreamBounds":
        """The bounds that the settings ask for."""
        return cls(settings.export_max_running, settings.export_max_waiting, settings.follow_max_running)
