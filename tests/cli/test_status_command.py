"""`treering status`: when it says that all is well."""

from typing import Any

import pytest

from treering_cli.status import _is_well


def sink(**changes: bool | str) -> dict[str | Any, object]:
    return {"name": "query", "is_ahead": False, "is_refusing": False, "connected": True, "last_error": ""} | changes


GAP = "FAILED_PRECONDITION: log 161 begins at offset 40, but this sink holds it below 10 only"


@pytest.mark.parametrize(
    ("found", "is_well"),
    [
        ({"ok": True, "sinks": [sink()]}, True),
        ({"ok": True, "sinks": [sink(is_ahead=True, connected=False)]}, False),
        ({"ok": True, "sinks": [sink(), sink(is_ahead=True)]}, False),
        ({"ok": True, "sinks": [sink(connected=False, is_refusing=True, last_error=GAP)]}, False),
        ({"ok": True, "sinks": [sink(connected=False, last_error="UNAVAILABLE: failed to connect to all addresses")]}, True),
        ({"ok": True, "sinks": []}, True),
        ({"ok": True}, True),
        ({"ok": False, "error": "gone"}, False),
        ({"ok": True, "problem": "no room"}, False),
        ({"ok": True, "refusing_because": "the disk is low"}, False),
    ],
)
def test_a_sink_that_is_cut_off_or_refuses_the_log_is_not_well(found: dict[str, object] | dict[str, bool], is_well: bool) -> None:
    assert _is_well(found) is is_well
