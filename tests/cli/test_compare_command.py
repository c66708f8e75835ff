import json

from tests.cli.conftest import Query, Run
from treering.v1 import query_pb2

HOUR = 3_600_000_000_000


def test_compare_takes_the_time_right_before_the_window(run: Run, services: Query) -> None:
    found = json.loads(run("compare", "--since", "30m", "--baseline", "24h", "--service", "s", "--only", "new,more", "--json").stdout)
    (request,) = services.requests
    looked_at, baseline = request.filter, request.baseline
    assert looked_at.end_time_unix_nano - looked_at.start_time_unix_nano == HOUR // 2
    assert (baseline.end_time_unix_nano, baseline.start_time_unix_nano) == (
        looked_at.start_time_unix_nano,
        baseline.end_time_unix_nano - 24 * HOUR,
    )
    assert looked_at.services == baseline.services == ["s"]
    assert list(request.changes) == [query_pb2.PATTERN_CHANGE_NEW, query_pb2.PATTERN_CHANGE_MORE]
    assert (found["window"]["count"], found["baseline"]["count"], found["new"], found["difference_count"]) == (300, 0, 1, 1)
    (difference,) = found["differences"]
    assert (difference["change"], difference["count"], difference["baseline_count"]) == ("new", 3, 0)
    assert (difference["pattern_id"], difference["log_likelihood_ratio"]) == ("9223372036854775809", 12.35)


def test_compare_without_a_baseline_takes_one_as_long_as_the_window(run: Run, services: Query) -> None:
    run("compare", "--since", "2026-03-12T14:00:00Z", "--until", "2026-03-12T14:30:00Z")
    (request,) = services.requests
    assert request.filter.start_time_unix_nano - request.baseline.start_time_unix_nano == HOUR // 2


def test_compare_of_two_releases_shares_everything_else(run: Run, services: Query) -> None:
    run(
        "compare",
        "--where",
        "version=1.2",
        "--where",
        "region=eu",
        "--against",
        "version=1.1",
        "--against",
        "environment=dev",
        "--since",
        "2h",
    )
    (request,) = services.requests
    own, other = ({each.key: list(each.values) for each in side.attributes} for side in (request.filter, request.baseline))
    assert (own, other) == ({"version": ["1.2"], "region": ["eu"]}, {"version": ["1.1"], "region": ["eu"]})
    assert (list(request.filter.environments), list(request.baseline.environments)) == ([], ["dev"])
    assert request.filter.start_time_unix_nano == request.baseline.start_time_unix_nano > 0


def test_compare_of_two_services_takes_both_sides_by_service(run: Run, services: Query) -> None:
    run("compare", "--where", "service=a", "--where", "region=eu", "--against", "service=b", "--environment", "dev")
    (request,) = services.requests
    assert (list(request.filter.services), list(request.baseline.services)) == (["a"], ["b"])
    for side in (request.filter, request.baseline):
        assert [(each.key, list(each.values)) for each in side.attributes] == [("region", ["eu"])]
        assert list(side.environments) == ["dev"]


def test_compare_draws_a_table_and_says_what_is_empty(run: Run) -> None:
    result = run("compare")
    assert "█" in result.stdout
    assert "\x1b" not in result.stdout
    assert "1 new" in result.stderr
    assert "the baseline selects no record at all" in result.stderr


def test_compare_says_when_there_is_no_difference(run: Run) -> None:
    result = run("compare", "--service", "quiet")
    assert result.stdout == ""
    assert "no difference" in result.stderr


# Errors, addresses
