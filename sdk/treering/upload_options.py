"""What an uploader is told: how it batches, how patient it is, what holds for all of its records."""

from collections.abc import Mapping
from typing import TypedDict

from treering.patience import OnOutage


class UploaderOptions(TypedDict, total=False):
    """The options of `Uploader` and `AsyncUploader`; each has a default."""

    linger_s: float
    """Send a batch that is not full after this time, seconds. Default 0.2; `math.inf` sends only full ones until `flush` or `close`,
    which makes the batches of the same records the same in every run."""
    max_batch_records: int
    """Records in a batch; at most 50,000."""
    max_batch_bytes: int
    """Encoded records in a batch, bytes; at most 3 MiB."""
    max_pending_bytes: int
    """Records kept until they are durable, bytes; `send` waits when there are more."""
    retry_for_s: float
    """Give up when nothing was acknowledged for this time in spite of retries, seconds. Default 300; `math.inf` never gives up."""
    acknowledge_within_s: float
    """Take a connection for dead when batches are on their way and none was acknowledged for this time, seconds: it is cut, and the
    upload resumes on a new one. Default 30, more than any healthy disk takes; `math.inf` trusts the connection for ever."""
    drain_for_s: float
    """How long to go on sending what is queued when an exception leaves the `with` block (a cancellation and Ctrl-C too), or when the
    program ends without `close`, seconds. Default 5. 0 ends at once: only then is a batch that is not full left as a repeat of the same
    records under the same producer id makes it."""
    resource: Mapping[str, str]
    """Attributes that hold for all records of this uploader, for example `{"host.name": "db-1"}`: sent and stored once, and read as if each
    record had them. A record's own attribute of the same key wins. At most 128, keys of at most 256 bytes, values of 64 KiB together."""
    on_outage: OnOutage
    """Is called when nothing was acknowledged for a second in spite of retries, once for each outage: with the error, and for how many
    seconds the uploader goes on trying. The sending thread (or task) calls it; a TreeringError that it raises ends the upload. Default: a
    warning in the log `treering`."""
