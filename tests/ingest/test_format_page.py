"""`docs/wal-format.md` against the bytes: a reader that was written from the page alone and uses nothing of the project's."""

import json
import struct
from pathlib import Path
from typing import Any

import xxhash

from tests.ingest.conftest import MakeBatch, OpenLog
from treering.v1.batch_pb2 import LogBatch
from treering_ingest.producers import Stored

CASTAGNOLI = 0x82F63B78


def crc_from(register: int, data: bytes) -> int:
    """CRC32C bit by bit, continued from an earlier result."""
    register ^= 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (CASTAGNOLI if register & 1 else 0)
    return register ^ 0xFFFFFFFF


def number(data: bytes, position: int, length: int) -> int:
    return int.from_bytes(data[position : position + length], "little")


def read_manifest(directory: Path) -> Any:
    line, crc, rest = (directory / "MANIFEST").read_bytes().split(b"\n")
    assert (crc, rest) == (b"%08x" % crc_from(0, line), b"")
    return json.loads(line)


def read_snapshot(data: bytes) -> dict[Any, list[tuple[Any, ...]]]:
    producers, at = {}, 4
    for _ in range(number(data, 0, 4)):
        length, kept = data[at], data[at + 1]
        producer = data[at + 2 : at + 2 + length]
        at += 2 + length
        producers[producer] = [struct.unpack_from("<QQIQ", data, at + 28 * each) for each in range(kept)]
        at += 28 * kept
    assert at == len(data)
    return producers


def read_segment(file: Path, manifest: Any, link: int, offset: int) -> tuple[Any, Any, int, Any | int, bool | Any]:
    """Its frames, its producers, and what the next segment continues."""
    data = file.read_bytes()
    assert data[:8] == b"TREERWAL"
    assert number(data, 8, 4) == 2
    assert number(data, 12, 4) == 0
    assert number(data, 16, 8) == int(manifest["log_id"], 16)
    assert file.name == f"{number(data, 24, 8):010d}-{number(data, 32, 8):020d}.wal"
    assert number(data, 32, 8) == offset
    assert number(data, 56, 4) == link
    snapshot = data[72 : 72 + number(data, 60, 4)]
    assert number(data, 64, 4) == crc_from(0, snapshot)
    seed = number(data, 68, 4)
    assert seed == crc_from(0, data[:68])
    end = len(data) - 40
    is_sealed = data[end : end + 4] == b"TRFT" and number(data, end + 36, 4) == crc_from(seed, data[end : end + 36])
    frames, link = read_frames(data, 72 + len(snapshot), end if is_sealed else len(data), seed, offset)
    offset = frames[-1]["first_offset"] + frames[-1]["record_count"] if frames else offset
    if is_sealed:
        assert [number(data, end + at, size) for at, size in ((4, 4), (8, 8), (16, 8))] == [len(frames), offset, end]
        assert number(data, end + 24, 8) > 10**18
        assert number(data, end + 32, 4) == link
    return frames, read_snapshot(snapshot), link, offset, is_sealed


def read_frames(data: bytes, at: int, end: int, seed: int, offset: int) -> tuple[list[dict[Any, Any]], int]:
    frames, link = [], seed
    while at < end:
        assert data[at : at + 4] == b"TRFR"
        length, count, named = number(data, at + 4, 4), number(data, at + 16, 4), number(data, at + 20, 2)
        assert number(data, at + 8, 8) == offset
        assert number(data, at + 22, 2) == 1
        assert number(data, at + 48, 4) <= at
        assert number(data, at + 52, 4) == link
        link = number(data, at + 60 + named, 4)
        assert link == crc_from(seed, data[at : at + 60 + named])
        begin = at + 64 + named
        payload = data[begin : begin + length]
        assert number(data, at + 56, 4) == crc_from(0, payload)
        frame = {"first_offset": offset, "record_count": count, "arrival": number(data, at + 24, 8), "sequence": number(data, at + 32, 8)}
        frames.append(frame | {"hash": number(data, at + 40, 8), "producer": data[at + 60 : at + 60 + named], "payload": payload})
        at, offset = begin + length, offset + count
    assert at == end
    return frames, link


def read_log(directory: Path) -> tuple[list[Any], list[Any]]:
    manifest = read_manifest(directory)
    frames, producers, link, offset = [], [], 0, 0
    files = sorted(directory.glob("*.wal"))
    assert [int(file.name[:10]) for file in files] == list(range(manifest["first_segment"], manifest["last_segment"] + 1))
    for file in files:
        more, table, link, offset, is_sealed = read_segment(file, manifest, link, offset)
        assert is_sealed == (file != files[-1])
        frames += more
        producers.append(table)
    return frames, producers


def test_another_reader_written_from_the_page_reads_the_log(opened: OpenLog, batch: MakeBatch, tmp_path: Path) -> None:
    written = [batch(b"me", sequence, sequence % 3, arrival=10**18 + sequence) for sequence in range(1, 15)]
    written += [batch(count=2), batch("é".encode(), 1)]
    with opened(crash=True, segment_bytes=700) as log:
        for group in (written[:1], written[1:4], *([one] for one in written[4:])):
            log.append(group, log.end_offset)
            log.sync()
        known = {name: producer.history for name, producer in log.producers}
    frames, producers = read_log(tmp_path)
    assert len(producers) >= 3
    assert [(frame["payload"], frame["record_count"], frame["producer"], frame["sequence"], frame["arrival"]) for frame in frames] == [
        (one.payload, one.record_count, one.producer_id, one.sequence, one.arrival_time_unix_nano) for one in written
    ]
    for frame in frames:
        assert frame["hash"] == xxhash.xxh3_64_intdigest(frame["payload"])
        assert len(LogBatch.FromString(frame["payload"]).records) == frame["record_count"]
    assert_replayed(producers[-1], frames, known)


def assert_replayed(snapshot: Any, frames: list[Any], known: dict[bytes, tuple[Stored, ...]]) -> None:
    """The last snapshot and the frames behind it give the producers at the end."""
    ends, offset = [], 0
    for frame in frames:
        offset += frame["record_count"]
        ends.append((frame["producer"], (frame["sequence"], frame["hash"], frame["record_count"], offset)))
    for name, history in known.items():
        mine = [stored for producer, stored in ends if producer == name][-5:]
        assert mine == [(one.sequence, one.batch_hash, one.record_count, one.end_offset) for one in history]
        assert set(snapshot.get(name, [])) <= {stored for _, stored in ends}


def test_the_page_names_every_magic_and_size() -> None:
    page = (Path(__file__).parents[2] / "docs" / "wal-format.md").read_text()
    for words in ("`TREERWAL`", "`TRFR`", "`TRFT`", "header (72 bytes)", "footer (40 bytes", "28 bytes each", "at most 4,194,304"):
        assert words in page
