import tracemalloc
from itertools import product

import numpy as np
import pyarrow as pa
import pytest

from treering_query.templates import NO_TEMPLATES, PatternRow, find_templates
from treering_query.templates.skeletons import shared_skeletons
from treering_runtime.patterns import find_patterns

NAMES = ("ann", "bob", "cyd", "dan", "eve", "fay", "gus", "hal", "ida", "jon", "kim", "lou", "mia", "ned", "ole", "pam")


def patterns(texts, first=1):
    return [PatternRow(first + number, text) for number, text in enumerate(texts)]


def texts_of(templates):
    return sorted(template.text for template in templates.by_id.values())


@pytest.mark.parametrize(
    ("form", "needed"),
    [
        ("session opened for user {} today", 3),
        ("mail relayed for {} today", 5),
        ("customer called {} again today", 5),
        ("the letter {} was lost today", 8),
        ("{} was lost today", 16),
    ],
)
def test_a_position_opens_once_it_has_shown_enough_values(form, needed):
    too_few = patterns(form.format(name) for name in NAMES[: needed - 1])
    assert len(find_templates(too_few).by_id) == needed - 1
    assert texts_of(find_templates(patterns(form.format(name) for name in NAMES[:needed]))) == [form.format("<*>")]


@pytest.mark.parametrize(
    "values", [("Started", "Stopped", "Paused", "Resumed"), ("NEW", "RUNNING", "DONE", "FAILED"), ("up", "down", "busy", "is")]
)
def test_states_are_wording(values):
    texts = sorted(f"virtual machine of user {value} at night" for value in values)
    assert texts_of(find_templates(patterns(texts))) == texts


def test_a_text_of_one_constant_word_is_never_joined():
    texts = sorted(f"user {name}" for name in NAMES)
    assert texts_of(find_templates(patterns(texts))) == texts


def test_texts_that_differ_in_two_positions_at_once_stay_apart():
    texts = sorted(f"user {name} opened file {name.upper()} now" for name in NAMES)
    assert texts_of(find_templates(patterns(texts))) == texts


def test_both_positions_of_a_grid_open():
    texts = [f"user {name} opened file {file} now" for name in NAMES[:4] for file in ("red", "green", "blue")]
    assert texts_of(find_templates(patterns(texts))) == ["user <*> opened file <*> now"]


def test_the_id_is_of_the_oldest_pattern_and_services_are_crossed():
    templates = find_templates(
        [
            PatternRow(9, "user ann left us"),
            PatternRow(4, "user bob left us"),
            PatternRow(7, "user ann left us"),
            PatternRow(2, "user cyd left us"),
        ]
    )
    assert dict(templates.template_ids) == {9: 9, 4: 9, 7: 9, 2: 9}


def test_a_template_takes_in_what_comes_later():
    former = find_templates(patterns(f"user {name} left us" for name in NAMES[:3]))
    later = find_templates([PatternRow(50, "user zoe left us"), PatternRow(51, "user zoe came back")], former)
    assert later.template_ids[50] == 1
    assert later.template_ids[51] == 51


def test_what_a_comparison_needs_of_memory_is_a_few_numbers_for_each_token():
    texts = [
        f"{first} went from {second} to {third} with {number} of {number + 1} things"
        for first, second, third in product(NAMES, repeat=3)
        for number in range(8)
    ]
    tokens = sum(text.count(" ") + 1 for text in texts)
    tracemalloc.start()
    try:
        assert next(shared_skeletons(texts, 3, np.ones(len(texts), np.bool_)))
        assert tracemalloc.get_traced_memory()[1] < 60 * tokens
    finally:
        tracemalloc.stop()


def test_an_id_once_shown_becomes_an_alias():
    former = find_templates(patterns(f"user {name} left us" for name in NAMES[:2]))
    assert set(former.by_id) == {1, 2}
    later = find_templates([PatternRow(50, "user zoe left us")], former)
    assert set(later.by_id) == {1}
    assert dict(later.template_ids) == {1: 1, 2: 1, 50: 1}


def test_no_pattern_is_no_template():
    assert find_templates([]) == NO_TEMPLATES


def group(service, lines):
    """Template id of each line of an invented system, through masking."""
    found = find_patterns(pa.array([service] * len(lines)), pa.array(lines))
    rows = zip(found.distinct_ids.to_pylist(), found.texts.to_pylist(), strict=True)
    templates = find_templates(PatternRow(identity, text) for identity, text in rows)
    return [templates.template_ids[identity] for identity in found.pattern_ids.to_pylist()]


DESKTOP_SERVICING = [
    ("store", r"Opened component store D:\Base\Store\v6.3.1 with core: D:\Base\Store\v6.3.1\core.dll"),
    ("store", r"Opened component store E:\Image\Mount with core: E:\Image\Mount\corebase.dll"),
    ("client", "Session: 30546_1187 initialized by client UpdateAgent."),
    ("client", "Session: 30546_1188 initialized by client SoftwareProtection."),
    ("client", "Session: 30546_1189 initialized by client DiskCleaner."),
    ("applicable", "Read applicability of package: Fix_for_KB101~31bf~amd64~~6.1.1.2, ApplicableState: 112, CurrentState:112"),
    ("applicable", "Read applicability of package: Language_Pack~31bf~x86~fr-FR~7.2.0.0, ApplicableState: 0, CurrentState:80"),
    ("upload", "Failed to start upload, flags: 0x2 [HRESULT = 0x80004005 - E_FAIL]"),
    ("upload", "Failed to start upload, flags: 0xA [HRESULT = 0x80070002 - E_FAIL]"),
    ("start", "Service Starting"),
    ("stop", "Service Stopping"),
]
HANDSET = [
    ("power", "ready=true,policy=3,wakefulness=1,summary=0x23,boot=true,mode=false"),
    ("power", "ready=false,policy=0,wakefulness=2,summary=0x0,boot=false,mode=true"),
    ("lock", 'acquire lock=23357, flags=0x1, tag="View Lock", name=org.example.viewer, ws=null, uid=10037'),
    (
        "lock",
        'acquire lock=998, flags=0x40, tag="Radio", name=org.example.radio, ws=Source{10113}, uid=1000'.replace("Source{10113}", "null"),
    ),
    ("bar", "setBarVisible vis=0 mask=1 old=40000500 diff=0"),
    ("bar", "setBarVisible vis=8 mask=ffff old=8 diff=c"),
    ("skip", "Skipping token Token{df07 Record{3b0 u0 org.example.viewer/org.example.viewer.MainScreen t76}} -- going to hide"),
    ("skip", "Skipping token Token{78af Record{90c u0 org.example.mail/org.example.mail.InboxScreen t8}} -- going to hide"),
    ("on", "screen turned on"),
    ("off", "screen turned off"),
]
FORWARD_PROXY = [
    ("open", "proxy.example.org:5070 open through proxy proxy.example.org:5070 HTTPS"),
    ("open", "images.shop.example.com:443 open through proxy proxy.example.org:5070 HTTPS"),
    ("close", "images.shop.example.com:443 close, 403 bytes sent, 426 bytes received, lifetime <1 sec"),
    ("close", "proxy.example.org:80 close, 1190 bytes sent, 7 bytes received, lifetime 00:02"),
    ("close large", "proxy.example.org:80 close, 1190 bytes (1.16 KB) sent, 8 bytes received, lifetime 01:15:02"),
    ("close large", "proxy.example.org:80 close, 9911901 bytes (9.45 MB) sent, 8 bytes received, lifetime <1 sec"),
    ("error", "proxy.example.org:80 error : Could not connect to proxy proxy.example.org:5070 - timed out"),
]


@pytest.mark.parametrize("lines", [DESKTOP_SERVICING, HANDSET, FORWARD_PROXY], ids=["servicing", "handset", "proxy"])
def test_groups_of_systems_that_no_rule_was_made_for(lines):
    found = group("system", [line for _, line in lines])
    expected = [name for name, _ in lines]
    assert len(set(zip(found, expected, strict=True))) == len(set(found)) == len(set(expected))
