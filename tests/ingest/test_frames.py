import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ingest.conftest import MakeBatch
from treering_ingest.durable_log import Batch
from treering_ingest.wal.errors import BadFrameError
from treering_ingest.wal.frame import Frame, Link, decode_header, encode_header, join

U64 = st.integers(0, 2**64 - 1)
BATCHES = st.builds(Batch, st.binary(max_size=200), st.integers(0, 2**32 - 1), st.binary(max_size=128), U64, U64, U64)


def decode(raw: bytes, seed: int, link: Link) -> Frame:
    header = decode_header(raw, 0, link.position, seed)
    return join(header, raw[header.length : header.length + header.payload_length], link)


@given(BATCHES, U64, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_a_frame_comes_back_as_it_was(batch: Batch, offset: int, synced: int, previous: int, seed: int) -> None:
    header, crc = encode_header(batch, offset, synced, previous, seed)
    frame = decode(header + batch.payload, seed, Link(7, offset, previous))
    assert (frame.payload, frame.record_count, frame.producer_id) == (batch.payload, batch.record_count, batch.producer_id)
    assert (frame.sequence, frame.batch_hash, frame.arrival_time_unix_nano) == (
        batch.sequence,
        batch.batch_hash,
        batch.arrival_time_unix_nano,
    )
    assert (frame.first_offset, frame.synced_position, frame.crc) == (offset, synced, crc)
    assert (frame.position, frame.end) == (7, 7 + len(header) + len(batch.payload))


def test_a_flipped_bit_anywhere_in_a_frame_is_found(batch: MakeBatch) -> None:
    one = batch(b"me", 1, 2)
    header, _ = encode_header(one, 5, 64, 9, 3)
    raw = header + one.payload
    for byte in range(len(raw)):
        for bit in range(8):
            damaged = bytearray(raw)
            damaged[byte] ^= 1 << bit
            with pytest.raises(BadFrameError):
                decode(bytes(damaged), 3, Link(0, 5, 9))


def test_a_frame_cut_anywhere_is_found(batch: MakeBatch) -> None:
    one = batch(b"me", 1, 2)
    header, _ = encode_header(one, 5, 64, 9, 3)
    raw = header + one.payload
    for length in range(len(raw)):
        with pytest.raises(BadFrameError):
            decode(raw[:length], 3, Link(0, 5, 9))


@pytest.mark.parametrize(
    ("seed", "link", "problem"),
    [(4, Link(0, 5, 9), "checksum"), (3, Link(0, 5, 8), "does not follow"), (3, Link(0, 6, 9), "begins at offset 5, expected 6")],
)
def test_a_frame_of_another_place_is_found(batch: MakeBatch, seed: int, link: Link, problem: str) -> None:
    one = batch()
    header, _ = encode_header(one, 5, 64, 9, 3)
    with pytest.raises(BadFrameError, match=problem):
        decode(header + one.payload, seed, link)
