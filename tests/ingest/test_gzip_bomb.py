"""A message of a megabyte that unpacks to a gigabyte: refused, and never held in memory."""

import asyncio
import json
import os
import re
import socket
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import grpc
import h2.connection
import h2.events
import pytest

from treering.v1.batch_pb2 import LogBatch
from treering.v1.ingest_pb2 import UploadLogsRequest
from treering.v1.ingest_pb2_grpc import IngestServiceStub
from treering.v1.log_pb2 import LogRecord

MIB = 1 << 20
BOMB_MIB = 1_024
ALLOWED_BYTES = 64 * MIB
"""What the service may grow by meanwhile: far below the bomb, far above a message."""


def bomb() -> bytes:
    """Zeros, packed with gzip. A full flush makes each packed mebibyte the same bytes, so that one stands for all."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    first = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    other = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return first + other * (BOMB_MIB - 1) + packer.flush()


def send(address: Any, packed: Any, path: Any) -> dict[str, str]:
    """Sends one message that is packed already, which no client library does; returns headers and trailers of the answer."""
    host, port = address.rsplit(":", 1)
    data, sent, answer = b"\x01" + struct.pack(">I", len(packed)) + packed, 0, {}
    connection = h2.connection.H2Connection()
    connection.initiate_connection()
    headers = {":method": "POST", ":path": path, ":scheme": "http", ":authority": address, "te": "trailers"}
    connection.send_headers(1, [*headers.items(), ("content-type", "application/grpc"), ("grpc-encoding", "gzip")])
    with socket.create_connection((host, int(port))) as wire:
        while True:
            while sent < len(data) and (room := min(connection.local_flow_control_window(1), connection.max_outbound_frame_size)):
                connection.send_data(1, data[sent : sent + room], end_stream=sent + room >= len(data))
                sent += room
            wire.sendall(connection.data_to_send())
            received = wire.recv(65_536)
            for event in connection.receive_data(received) if received else ():
                if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                    answer.update({bytes(key).decode(): bytes(value).decode() for key, value in event.headers})
                if isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
                    return answer
            if not received:
                return answer


def peak_bytes(pid: int) -> int:
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1]) * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
@pytest.mark.parametrize("rpc", ["UploadLogs", "StreamLogs"])
async def test_a_bomb_is_refused_with_bounded_memory_and_the_door_stays_open(tmp_path: Path, rpc: str) -> None:
    settings = {"DATA_DIR": str(tmp_path / "ingest"), "LISTEN": "127.0.0.1:0", "METRICS_LISTEN": "127.0.0.1:0"}
    environment = {**os.environ, **{f"TREERING_INGEST_{name}": value for name, value in settings.items()}}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "treering_ingest", env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        address = json.loads(await process.stdout.readline())["address"]
        before = peak_bytes(process.pid)
        answer = await asyncio.to_thread(send, address, bomb(), f"/treering.v1.IngestService/{rpc}")
        assert int(answer["grpc-status"]) == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
        assert peak_bytes(process.pid) - before < ALLOWED_BYTES
        async with grpc.aio.insecure_channel(address) as channel:
            call = IngestServiceStub(channel).UploadLogs(
                iter([UploadLogsRequest(batch=LogBatch(records=[LogRecord(message="still open")]))])
            )
            assert (await call).accepted_count == 1
    finally:
        process.kill()
        await process.wait()
