"""Safeguards of the reading of lines: nothing is lost, nothing is joined that is not one, nothing is sent that was to be masked."""

from safeguards.mutant import Mutant

_JOINER = "services/formats/treering_formats/joining/joiner.py"
_JOINING = "tests/cli/test_joining.py"
_WRAPPERS = "tests/cli/test_wrappers.py"

MUTANTS = (
    Mutant(
        "strays-are-records-where-few-lines-have-heads",
        _JOINER,
        "        elif event.strays and not lane.has_heads:\n",
        "        elif False:\n",
        (f"{_JOINING}::test_lines_without_a_head_are_records_where_few_lines_have_one",),
    ),
    Mutant(
        "an-event-is-no-larger-than-a-record",
        _JOINER,
        "    return held.size + len(line) < MAX_EVENT_CHARACTERS and",
        "    return",
        (f"{_JOINING}::test_an_event_of_many_long_lines_stays_below_the_largest_record",),
    ),
    Mutant(
        "a-line-in-pieces-is-given-at-the-end",
        _JOINER,
        "        if lane.pieces:\n",
        "        if False:\n",
        (f"{_WRAPPERS}::test_a_line_in_endless_pieces_is_bounded", "tests/cli/test_joining_properties.py"),
    ),
    Mutant(
        "open-json-is-lines-again",
        _JOINER,
        "            if event.depth > 0 and event.size > MAX_EVENT_CHARACTERS:\n",
        "            if False:\n",
        (f"{_JOINING}::test_open_json_that_never_ends_is_lines_again",),
    ),
    Mutant(
        "streams-of-a-container-are-kept-apart",
        "services/formats/treering_formats/wrappers/lines.py",
        "    envelope = Envelope(stream, CRI,",
        '    envelope = Envelope("", CRI,',
        (f"{_WRAPPERS}::test_two_streams_in_one_file_are_kept_apart",),
    ),
    Mutant(
        "records-are-given-in-the-order-of-their-lines",
        _JOINER,
        "            event = Event(number, envelope)\n            self._order.append(event)\n",
        "            event = Event(number, envelope)\n            self._order.appendleft(event)\n",
        (f"{_WRAPPERS}::test_two_streams_in_one_file_are_kept_apart",),
    ),
    Mutant(
        "lines-behind-a-row-are-kept",
        "services/formats/treering_formats/known/databases.py",
        ", *lines[rows.line_num :]])",
        "])",
        (f"{_JOINING}::test_lines_behind_a_row_of_the_csvlog_stay_in_its_message",),
    ),
    Mutant(
        "values-of-the-journal-are-read-by-their-length",
        "services/formats/treering_formats/wrappers/journal_export.py",
        "        data = self._exactly(length)\n",
        "        data = self._read(size) or b''\n",
        (f"{_WRAPPERS}::test_the_export_format_of_the_journal_is_read_byte_by_byte",),
    ),
    Mutant(
        "an-attribute-of-a-wrapper-replaces-none",
        "services/formats/treering_formats/event_reader.py",
        "        if name not in attributes:\n",
        "        if True:\n",
        (f"{_WRAPPERS}::test_what_the_inner_text_says_wins",),
    ),
    Mutant(
        "a-record-is-masked-before-it-is-given",
        "services/formats/treering_formats/records.py",
        "            self._redactor.mask(record)\n",
        "            pass\n",
        ("tests/cli/test_redaction.py::test_a_key_over_several_lines_is_masked_whole",),
    ),
    Mutant(
        "a-key-in-many-records-is-masked",
        "services/formats/treering_formats/redaction/redactor.py",
        "            self._open_key = _KEY_RECORDS\n",
        "            self._open_key = 0\n",
        ("tests/cli/test_redaction.py::test_a_key_of_which_each_line_is_a_record_is_masked",),
    ),
    Mutant(
        "the-value-of-a-secret-name-is-masked",
        "services/formats/treering_formats/redaction/redactor.py",
        "        for rule in self._keys:\n",
        "        for rule in ():\n",
        ("tests/cli/test_redaction.py::test_every_text_of_a_record_is_masked",),
    ),
)
