"""What a wrapper says of the text that it carries."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Envelope:
    """What stands around a line: what the line itself says, wins.

    Attributes:
        lane: Lines of one lane follow each other; those of another may stand between them.
        time_unix_nano: When the runtime took the line; 0 for unknown.
        severity: OpenTelemetry's number; 0 for unknown.
        service: The program; empty for unknown.
        environment: Where it runs; empty for unknown.
        attributes: Everything else.
        is_partial: Whether the line goes on in the next one of the lane.
        form: The name of the wrapper.
    """

    lane: Hashable
    form: str
    time_unix_nano: int = 0
    severity: int = 0
    service: str = ""
    environment: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    is_partial: bool = False
