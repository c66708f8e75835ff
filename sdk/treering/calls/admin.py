"""The rpcs of the inner plane: IngestAdminService, EmbedAdminService, QueryAdminService."""

from collections.abc import Sequence

from treering.calls.call import Call
from treering.v1 import admin_pb2
from treering.v1.log_pb2 import Position


def digest_log(first_offset: int, end_offset: int, *, step: int = 4_096, timeout: float | None = None) -> Call[admin_pb2.DigestLogRequest]:
    """Reads a part of the log again and digests it, to be compared with `digest_store`. `treering verify` does it for everything.

    Args:
        first_offset: Where to begin.
        end_offset: Where to end, at most 262,144 later.
        step: Offsets in one run; at most 4,096 runs.
        timeout: See the module.
    """
    return Call(admin_pb2.DigestLogRequest(first_offset=first_offset, end_offset_exclusive=end_offset, step=step), timeout)


def score_patterns(
    texts: Sequence[str], *, min_positions: Sequence[Position] = (), timeout: float | None = None
) -> Call[admin_pb2.ScorePatternsRequest]:
    """Scores every pattern against each of 1 to 16 texts.

    Returns:
        An iterator of slices of at most 16,384 patterns.
    """
    return Call(admin_pb2.ScorePatternsRequest(texts=texts, min_positions=min_positions), timeout)


def forget_patterns(
    pattern_ids: Sequence[int], *, below: Sequence[Position] = (), timeout: float | None = None
) -> Call[admin_pb2.ForgetPatternsRequest]:
    """Forgets at most 10,000 patterns that were last seen below the given positions. Idempotent; the query service calls it by itself."""
    return Call(admin_pb2.ForgetPatternsRequest(pattern_ids=pattern_ids, below=below), timeout)


def start_reindex(model: str = "", *, request_id: str = "", timeout: float | None = None) -> Call[admin_pb2.StartReindexRequest]:
    """Begins to embed every pattern anew while searches go on; `get_embed_status` says how far it is.

    Args:
        model: A model's name, or the path of a saved one on the service's machine; empty is the one in use.
        request_id: Any text of at most 128 bytes; a repeat with the same one begins nothing, and gives what the first call began.
        timeout: See the module.
    """
    return Call(admin_pb2.StartReindexRequest(model=model, request_id=request_id), timeout)


def cancel_reindex(reindex_id: int | None = None, *, timeout: float | None = None) -> Call[admin_pb2.CancelReindexRequest]:
    """Has a reindex given up; the index that answers is left as it is.

    Args:
        reindex_id: Which one; None is the one that runs.
        timeout: See the module.

    Raises:
        NotFoundError: There is no such reindex.
    """
    return Call(admin_pb2.CancelReindexRequest(reindex_id=reindex_id), timeout)


def digest_index(*, min_positions: Sequence[Position] = (), timeout: float | None = None) -> Call[admin_pb2.DigestIndexRequest]:
    """Compares the registry of patterns with the index.

    Returns:
        An iterator of messages, each with some ids of one state; the last one has `forgotten_keyword_only_count`.
    """
    return Call(admin_pb2.DigestIndexRequest(min_positions=min_positions), timeout)


def digest_store(
    log_id: int,
    first_offset: int,
    end_offset: int,
    *,
    step: int = 4_096,
    min_positions: Sequence[Position] = (),
    timeout: float | None = None,
) -> Call[admin_pb2.DigestStoreRequest]:
    """Reads a part of the store again and digests it, to be compared with `digest_log`.

    Args:
        log_id: The log that the records came from.
        first_offset: Where to begin.
        end_offset: Where to end, at most 262,144 later.
        step: Offsets in one run; at most 4,096 runs.
        min_positions: See the module.
        timeout: See the module.
    """
    request = admin_pb2.DigestStoreRequest(
        log_id=log_id, first_offset=first_offset, end_offset_exclusive=end_offset, step=step, min_positions=min_positions
    )
    return Call(request, timeout)


def verify_store(*, timeout: float | None = None) -> Call[admin_pb2.VerifyStoreRequest]:
    """Reads every sealed segment again and compares it with what was sealed.

    Args:
        timeout: None is no deadline.

    Returns:
        An iterator over how far the check is and what it found since; the last one is `complete`, without which the check is not.

    Raises:
        OverloadedError: Another check runs.
    """
    return Call(admin_pb2.VerifyStoreRequest(), timeout)
