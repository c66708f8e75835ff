"""Messages hold as many rows as fit, in order, whatever the sizes."""

from hypothesis import given
from hypothesis import strategies as st

from treering.v1.query_pb2 import ListPatternsResponse, Pattern
from treering_runtime.fitting import fitting, messages, pieces

ROWS = st.lists(st.integers(0, 400).map(lambda size: Pattern(text="x" * size)), max_size=30)
BUDGET = st.integers(0, 1_500)


@given(rows=ROWS, budget=BUDGET)
def test_messages_of_a_stream_hold_all_rows_in_order_and_are_larger_than_the_budget_for_one_row_alone(
    rows: list[Pattern], budget: int
) -> None:
    found = list(messages(iter(rows), budget))
    assert [row for message in found for row in message] == rows
    assert all(len(message) == 1 or ListPatternsResponse(patterns=message).ByteSize() <= budget for message in found)
    assert all(message for message in found)


@given(rows=ROWS, budget=BUDGET)
def test_a_page_is_the_first_message_of_a_stream(rows: list[Pattern], budget: int) -> None:
    assert list(fitting(rows, budget)) == next(messages(rows, budget), [])


@given(data=st.binary(max_size=100), most=st.integers(1, 40))
def test_pieces_are_the_bytes_in_order(data: bytes, most: int) -> None:
    found = list(pieces(data, most))
    assert b"".join(found) == data
    assert all(0 < len(piece) <= most for piece in found)
