"""`treering status`: when it says that all is well."""

import pytest

from treering.cli.status import _is_well


@pytest.mark.parametrize(
    ("found", "is_well"),
    [
        ({"ok": True, "sinks": [{"name": "query", "is_ahead": False, "connected": True}]}, True),
        ({"ok": True, "sinks": [{"name": "query", "is_ahead": True, "connected": False}]}, False),
        ({"ok": True, "sinks": [{"name": "query", "is_ahead": False}, {"name": "embed", "is_ahead": True}]}, False),
        ({"ok": True, "sinks": []}, True),
        ({"ok": True}, True),
        ({"ok": False, "error": "gone"}, False),
        ({"ok": True, "problem": "no room"}, False),
        ({"ok": True, "refusing_because": "the disk is low"}, False),
    ],
)
def test_a_sink_that_is_cut_off_is_not_well(found, is_well):
    assert _is_well(found) is is_well
