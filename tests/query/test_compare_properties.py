"""ComparePatterns against a plain Python twin, and its ratio against the definition of the paper."""

import math
from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.query.conftest import SnapshotOf
from treering.v1 import query_pb2 as pb
from treering.v1.log_pb2 import AttributeFilter, LogFilter, LogRecord
from treering_query.patterns import compare
from treering_query.patterns.compare_ranking import changes, log_likelihood_ratio

LOG = 7
HOUR = 3_600_000_000_000
BEGIN = 1_700_000_000_000_000_000
TEXTS = ["cache is warm", "disk is full", "login failed", "payment timed out"]

RECORDS = st.lists(
    st.builds(
        LogRecord,
        time_unix_nano=st.integers(0, 3).map(lambda hours: BEGIN + hours * HOUR),
        severity=st.sampled_from([0, 9, 17]),
        service=st.sampled_from(["shop", "auth"]),
        environment=st.sampled_from(["prod", "dev"]),
        message=st.sampled_from(TEXTS),
        attributes=st.dictionaries(st.just("version"), st.sampled_from(["1", "2"]), max_size=1),
    ),
    max_size=40,
)
FILTERS = st.builds(
    LogFilter,
    start_time_unix_nano=st.sampled_from([0, BEGIN + HOUR, BEGIN + 2 * HOUR]),
    end_time_unix_nano=st.sampled_from([0, BEGIN + 3 * HOUR]),
    min_severity=st.sampled_from([0, 9]),
    services=st.lists(st.sampled_from(["shop", "auth"]), max_size=1),
    environments=st.lists(st.just("prod"), max_size=1),
    attributes=st.lists(
        st.builds(AttributeFilter, key=st.just("version"), values=st.lists(st.sampled_from(["1", "2"]), max_size=1)), max_size=1
    ),
)


def selects(chosen: LogFilter, record: LogRecord) -> bool:
    return all(
        [
            record.time_unix_nano >= chosen.start_time_unix_nano,
            not chosen.end_time_unix_nano or record.time_unix_nano < chosen.end_time_unix_nano,
            record.severity >= chosen.min_severity,
            not chosen.services or record.service in chosen.services,
            not chosen.environments or record.environment in chosen.environments,
            *(
                condition.key in record.attributes and (not condition.values or record.attributes[condition.key] in condition.values)
                for condition in chosen.attributes
            ),
        ]
    )


def binomial(k: int, n: int, share: float) -> float:
    """ln L(p; k, n) as the paper has it."""
    return (k * math.log(share) if k else 0.0) + ((n - k) * math.log(1 - share) if n - k else 0.0)


def ratio_of_the_paper(k1: int, k2: int, n1: int, n2: int) -> float:
    if not n1 or not n2:
        return 0.0
    both = (k1 + k2) / (n1 + n2)
    return 2 * (binomial(k1, n1, k1 / n1) + binomial(k2, n2, k2 / n2) - binomial(k1, n1, both) - binomial(k2, n2, both))


def change_of(k1: int, k2: int, n1: int, n2: int) -> int:
    if not k2:
        return pb.PATTERN_CHANGE_NEW
    if not k1:
        return pb.PATTERN_CHANGE_GONE
    if k1 * n2 == k2 * n1:
        return pb.PATTERN_CHANGE_UNSPECIFIED
    return pb.PATTERN_CHANGE_MORE if k1 * n2 > k2 * n1 else pb.PATTERN_CHANGE_LESS


def twin(records: list[LogRecord], looked_at: LogFilter, baseline: LogFilter) -> tuple[dict[Any, Any], int, int]:
    """By service and text: change, both counts, ratio; and both totals."""
    sides = [[record for record in records if selects(chosen, record)] for chosen in (looked_at, baseline)]
    counts = [Counter((record.service, record.message) for record in side) for side in sides]
    totals = [len(side) for side in sides]
    found = {}
    for name in counts[0].keys() | counts[1].keys():
        pair = counts[0][name], counts[1][name]
        if change := change_of(*pair, *totals):
            found[name] = (change, *pair, ratio_of_the_paper(*pair, *totals))
    return found, *totals  # type: ignore[return-value]


def as_dict(response: pb.ComparePatternsResponse) -> dict[Any, Any]:
    return {
        (each.pattern.service, each.pattern.text): (each.change, each.pattern.count, each.baseline_count, each.log_likelihood_ratio)
        for each in response.differences
    }


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=RECORDS, cut=st.integers(0, 40), looked_at=FILTERS, baseline=FILTERS)
def test_differences_are_those_of_the_twin(
    snapshot_of: SnapshotOf, records: list[LogRecord], cut: int, looked_at: LogFilter, baseline: LogFilter
) -> None:
    request = pb.ComparePatternsRequest(filter=looked_at, baseline=baseline)
    with snapshot_of(records[:cut], records[cut:]) as snapshot:
        response = compare.plan(request).answer(snapshot)
    expected, total, baseline_total = twin(records, looked_at, baseline)
    answered = as_dict(response)
    assert answered.keys() == expected.keys()
    for name, (*exact, ratio) in answered.items():
        assert tuple(exact) == expected[name][:3]
        assert math.isclose(ratio, expected[name][3], rel_tol=1e-6, abs_tol=1e-9)
    assert (response.total_count, response.baseline_total_count) == (total, baseline_total)
    assert response.difference_count == len(expected)
    kinds = Counter(kind for kind, *_ in expected.values())
    counted = (response.new_count, response.gone_count, response.more_count, response.less_count)
    assert counted == tuple(kinds[change] for change in range(1, 5))
    assert_order(response)
    assert_details(response, [record for record in records if selects(looked_at, record)])


def assert_order(response: pb.ComparePatternsResponse) -> None:
    keys = [
        (-each.log_likelihood_ratio, -(each.pattern.count + each.baseline_count), each.pattern.pattern_id) for each in response.differences
    ]
    assert keys == sorted(keys)


def assert_details(response: pb.ComparePatternsResponse, selected: list[Any]) -> None:
    by_pattern = defaultdict(list)
    for record in selected:
        by_pattern[record.service, record.message].append(record)
    for each in response.differences:
        records = by_pattern[each.pattern.service, each.pattern.text]
        assert dict(each.pattern.count_by_severity) == Counter(record.severity for record in records)
        times = [record.time_unix_nano for record in records] or [0]
        assert (each.pattern.first_time_unix_nano, each.pattern.last_time_unix_nano) == (min(times), max(times))


COUNT = st.integers(0, 10**9)


@given(pairs=st.lists(st.tuples(COUNT, COUNT), min_size=1, max_size=5), more=st.tuples(COUNT, COUNT))
def test_the_ratio_is_never_negative_and_the_same_from_both_sides(pairs: list[Any], more: tuple[Any, Any]) -> None:
    counts, baseline = (np.array(side, np.int64) for side in zip(*pairs, strict=True))
    totals = int(counts.sum()) + more[0], int(baseline.sum()) + more[1]
    ratios = log_likelihood_ratio(counts, baseline, *totals)
    assert np.all(ratios >= 0)
    assert np.all(np.isfinite(ratios))
    assert np.allclose(ratios, log_likelihood_ratio(baseline, counts, *totals[::-1]))
    mirrored = {0: 0, 1: 2, 2: 1, 3: 4, 4: 3}
    some = counts + baseline > 0
    turned = changes(baseline, counts, *totals[::-1])[some].tolist()
    assert [mirrored[kind] for kind in changes(counts, baseline, *totals)[some].tolist()] == turned


@pytest.mark.parametrize(
    ("counts", "expected"), [((110, 111, 31_777, 31_777), 0.0), ((10, 0, 1_000, 1_000), 13.9), ((300, 100, 1_000, 1_000), 129.7)]
)
def test_the_ratio_of_known_tables(counts: tuple[int, int, int, int], expected: float) -> None:
    first, second, *totals = counts
    (ratio,) = log_likelihood_ratio(np.array([first]), np.array([second]), *totals)
    assert round(ratio, 1) == expected
