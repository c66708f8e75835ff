from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from treering_query.templates import PatternRow, find_templates
from treering_query.templates.skeletons import shared_skeletons

words = st.sampled_from(["user", "ann", "bob", "cyd", "left", "for", "Started", "a_b", "<*>", ""])
texts = st.lists(words, min_size=1, max_size=5).map(" ".join)
tables = st.lists(texts, max_size=60).map(lambda rows: [PatternRow(number, text) for number, text in enumerate(rows)])
grids = st.tuples(
    st.sampled_from(["user {} left us", "file {} of user {} left", "{} for {} is here", "we saw {} and user {} there"]),
    st.lists(st.tuples(st.sampled_from("abcdefghijklmnopqr"), st.sampled_from("abcdefghijklmnopqr")), max_size=80),
).map(lambda grid: [PatternRow(number, grid[0].format(*pair)) for number, pair in enumerate(grid[1])])
any_table = tables | grids


def partition(templates):
    groups = {}
    for pattern, template in templates.template_ids.items():
        groups.setdefault(template, set()).add(pattern)
    return groups


@given(any_table)
def test_a_second_pass_changes_nothing(table):
    once = find_templates(table)
    assert find_templates(table, once) == once
    assert find_templates([], once) == once


@given(any_table, st.randoms())
def test_groups_do_not_depend_on_order(table, chance):
    shuffled = table.copy()
    chance.shuffle(shuffled)
    assert sorted(map(sorted, partition(find_templates(table)).values())) == sorted(
        map(sorted, partition(find_templates(shuffled)).values())
    )


@given(any_table)
def test_each_id_is_of_the_oldest_member_and_the_text_covers_all(table):
    templates = find_templates(table)
    assert set(templates.template_ids) == {pattern.id for pattern in table}
    for template, members in partition(templates).items():
        assert template == min(members)
        text, open_positions = templates.by_id[template].text.split(" "), templates.by_id[template].open_positions
        for member in members:
            tokens = table[member].text.split(" ")
            assert len(tokens) == len(text)
            assert {place for place, token in enumerate(tokens) if token != text[place]} <= open_positions
            assert all(text[place] == "<*>" for place in open_positions)


@given(any_table, st.lists(st.integers(0, 80), max_size=4))
def test_what_is_joined_stays_joined_and_no_alias_is_lost(table, cuts):
    templates, shown = find_templates([]), {}
    bounds = [0, *sorted(cuts), len(table)]
    for start, end in pairwise(bounds):
        former, templates = templates, find_templates(table[start:end], templates)
        shown.update({template: set(members) for template, members in partition(former).items()})
        for template, members in shown.items():
            assert {templates.template_ids[member] for member in members} == {templates.template_ids[template]}
        assert set(templates.by_id) == set(templates.template_ids.values())


@given(st.lists(texts, max_size=40, unique=True), st.sets(st.integers(0, 39)))
def test_skeletons_are_those_of_a_plain_count(rows, chosen):
    plain = {}
    for row, text in enumerate(rows):
        tokens = text.split(" ")
        for position in range(len(tokens)):
            plain.setdefault((position, tuple(tokens[:position]), tuple(tokens[position + 1 :])), []).append(row)
    flags = np.array([row in chosen for row in range(len(rows))], np.bool_)
    expected = sorted((key[0], found) for key, found in plain.items() if len(found) >= 3 and chosen & set(found))
    assert sorted((position, sorted(found)) for position, found in shared_skeletons(rows, 3, flags)) == expected
