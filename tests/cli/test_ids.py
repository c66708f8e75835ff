"""Ids as people type them."""

import pytest
import typer

from treering_cli.ids import id_of


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("161", 161), (str(2**64 - 1), 2**64 - 1), ("1234567890123456", 1234567890123456), ("00000000000000a1", 161)],
)
def test_ids_are_decimal_and_hex_only_where_it_cannot_be_mistaken(text: str, number: int) -> None:
    assert id_of("--log-id", text) == number


@pytest.mark.parametrize("text", ["", "a1", "-1", "1.0", str(2**64), "0x10", "00000000000000A1", "٣", "1 2", "00000000000000a11", "1e3"])
def test_what_is_no_id_is_refused_by_its_name(text: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"--log-id .* is no id; ids are whole numbers below 2\^64"):
        id_of("--log-id", text)
