from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from treering_query.retention.expired import joined
from treering_query.values.segment import Expired


def whole(first: int, end: int, log_id: int = 7) -> Expired:
    return Expired(log_id, first, end, end - first)


def test_a_log_whose_old_end_goes_is_one_range() -> None:
    parts = ()
    for number in range(100):
        parts = joined([*parts, whole(number * 10, number * 10 + 10)])
    assert parts == (whole(0, 1_000),)


def test_what_is_removed_service_by_service_becomes_whole() -> None:
    some = joined([Expired(7, 0, 10, 2), Expired(7, 10, 20, 3)])
    assert some == (Expired(7, 0, 10, 2), Expired(7, 10, 20, 3))
    assert joined([*some, Expired(7, 0, 10, 8), Expired(7, 10, 20, 7)]) == (whole(0, 20),)


def test_logs_and_gaps_stay_apart() -> None:
    parts = (whole(0, 10, 1), whole(11, 20, 1), whole(20, 30, 2))
    assert joined(reversed(parts)) == parts


RANGES = st.tuples(st.integers(1, 2), st.integers(0, 40), st.integers(1, 15), st.floats(0, 1)).map(
    lambda drawn: Expired(drawn[0], drawn[1], drawn[1] + drawn[2], max(1, round(drawn[2] * drawn[3])))
)


@given(st.lists(RANGES, max_size=12))
def test_nothing_is_forgotten_and_nothing_invented(parts: list[Any]) -> None:
    found = joined(parts)
    assert joined(found) == found
    for log_id in (1, 2):
        offsets = {offset for part in parts if part.log_id == log_id for offset in range(part.first_offset, part.end_offset)}
        kept = [part for part in found if part.log_id == log_id]
        assert [offset for part in kept for offset in range(part.first_offset, part.end_offset)] == sorted(offsets)
        assert all(part.row_count <= part.end_offset - part.first_offset for part in kept)
        for part in kept:
            inside = [
                each.row_count for each in parts if each.log_id == log_id and part.first_offset <= each.first_offset < part.end_offset
            ]
            assert max(inside) <= part.row_count <= min(sum(inside), part.end_offset - part.first_offset)
