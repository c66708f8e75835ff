"""A filter with all that is in it, as one condition."""

from collections.abc import Iterator
from dataclasses import replace

from treering.v1.error_pb2 import ErrorReason
from treering.v1.log_pb2 import LogFilter
from treering_query import limits
from treering_query.meaning.meant import NOTHING, Meant
from treering_query.reading.filters import checks
from treering_query.reading.filters.bound import Bound
from treering_query.reading.filters.node import conditions
from treering_query.values.predicate import Predicate, all_of, any_of, none_of
from treering_runtime.errors import ServiceError


def where(log_filter: LogFilter, meant: Meant = NOTHING, path: str = "filter", *, most: int = limits.MAX_FILTER_CONDITIONS) -> Predicate:
    """The condition of a filter.

    Args:
        log_filter: The filter.
        meant: The scores of its texts `about`, if it has some.
        path: The field of the request that it is, for errors.
        most: How many conditions it may have.

    Raises:
        ServiceError: INVALID_FIELD, naming a field by its path and what to do; NOT_IMPLEMENTED for `about` where it is not scored.
    """
    for field, text in checks.abouts(log_filter, path).items():
        if text not in meant.texts:
            message = (
                f"{field} is not served on streams: what arrives later has no score yet; list patterns with it, and give their pattern_ids"
            )
            raise ServiceError(ErrorReason.ERROR_REASON_NOT_IMPLEMENTED, message)
    # Before anything grows with what is in it, and before anything is called as deep as it is.
    checks.check(log_filter, path, most)
    bound = Bound()
    return replace(_joined(log_filter, meant, bound), parameters=bound.parameters)


def _joined(node: LogFilter, meant: Meant, bound: Bound) -> Predicate:
    return all_of([*conditions(node, meant, bound), *_branches(node, meant, bound)])


def _branches(node: LogFilter, meant: Meant, bound: Bound) -> Iterator[Predicate]:
    for each in node.all_of:
        yield _joined(each, meant, bound)
    if node.any_of:
        yield any_of([_joined(each, meant, bound) for each in node.any_of])
    if node.none_of:
        yield none_of([_joined(each, meant, bound) for each in node.none_of])
