"""What the machine could do at best: the same bytes through the least code that still does the step.

Run as a program it is the bare gRPC server: `python bench/floors.py DIRECTORY` prints its address and serves until its input ends.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pyarrow.parquet as pq
from load.sender import STREAM, UPLOAD

from treering.v1.batch_pb2 import LogBatch
from treering.v1.ingest_pb2 import StreamLogsResponse, UploadLogsRequest, UploadLogsResponse
from treering.v1.sink_pb2 import DeliveredFrame
from treering_runtime.columns import FrameDecoder
from treering_runtime.fsync import fdatasync, fsync
from treering_runtime.patterns import find_patterns
from treering_runtime.server import server_options

SYNC_BYTES = 1024 * 1024
"""The bare server syncs so much at a time, as ingest does."""

ANSWER_S = 0.01
"""The bare server acknowledges small requests of a stream so often, as ingest does."""


_MAX_BUFFERS = 1024
"""IOV_MAX of Linux."""


class BareServer:
    """A handler that parses each batch, and writes and syncs a MiB at a time on a thread while it parses the next."""

    def __init__(self, file: int) -> None:
        self._file = file

    async def stream(self, batches: AsyncIterator[bytes], context: object) -> AsyncIterator[StreamLogsResponse]:
        """Parses each batch, and answers each `ANSWER_S` with what is on disk by then."""
        del context
        taken, waiting, due = 0, [], time.monotonic() + ANSWER_S
        async for batch in batches:
            taken += min(len(UploadLogsRequest.FromString(batch).batch.records), 1)
            waiting.append(batch)
            if time.monotonic() >= due:
                await asyncio.to_thread(self._write, waiting)
                yield StreamLogsResponse(last_durable_sequence=taken)
                waiting, due = [], time.monotonic() + ANSWER_S
        await asyncio.to_thread(self._write, waiting)
        yield StreamLogsResponse(last_durable_sequence=taken)

    async def upload(self, batches: AsyncIterator[bytes], context: object) -> UploadLogsResponse:
        """Takes everything, answers once it is on disk."""
        del context
        records, size, waiting = 0, 0, []
        writing = asyncio.create_task(asyncio.to_thread(self._write, []))
        async for batch in batches:
            records += len(UploadLogsRequest.FromString(batch).batch.records)
            waiting.append(batch)
            size += len(batch)
            if size >= SYNC_BYTES:
                await writing
                writing = asyncio.create_task(asyncio.to_thread(self._write, waiting))
                size, waiting = 0, []
        await writing
        await asyncio.to_thread(self._write, waiting)
        return UploadLogsResponse(accepted_count=records)

    def _write(self, batches: Sequence[bytes]) -> None:
        for start in range(0, len(batches), _MAX_BUFFERS):
            os.writev(self._file, batches[start : start + _MAX_BUFFERS])
        fdatasync(self._file)


async def serve(directory: Path) -> None:
    """Serves until standard input ends."""
    bare = BareServer(os.open(directory / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND))
    server = grpc.aio.server(options=server_options())
    service = UPLOAD[1:].partition("/")[0]
    methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        UPLOAD.rpartition("/")[2]: grpc.stream_unary_rpc_method_handler(bare.upload, None, UploadLogsResponse.SerializeToString),
        STREAM.rpartition("/")[2]: grpc.stream_stream_rpc_method_handler(bare.stream, None, StreamLogsResponse.SerializeToString),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(0)


def disk_records_per_s(batches: Sequence[bytes], records: int, directory: Path) -> float:
    """Write and fdatasync, a MiB at a time, and nothing else."""
    with tempfile.NamedTemporaryFile(dir=directory) as file:
        started, waiting, size = time.perf_counter(), [], 0
        for batch in batches:
            waiting.append(batch)
            size += len(batch)
            if size >= SYNC_BYTES or batch is batches[-1]:
                os.writev(file.fileno(), waiting)
                fdatasync(file.fileno())
                waiting, size = [], 0
        return records / (time.perf_counter() - started)


def columns_records_per_s(batches: Sequence[bytes], directory: Path) -> dict[str, float]:
    """Serialised LogBatches to Arrow, masks, and sorted zstd Parquet on one thread, each alone and all together; records/s."""
    decoder, tables, seconds = FrameDecoder(), [], {"decode": 0.0, "mask": 0.0, "parquet": 0.0}
    offset = 0
    for start in range(0, len(batches), 8):
        frames = []
        for batch in batches[start : start + 8]:
            count = len(LogBatch.FromString(batch).records)
            frames.append(DeliveredFrame(first_offset=offset, record_count=count, arrival_time_unix_nano=1, payload=batch))
            offset += count
        began = time.perf_counter()
        decoded = decoder.decode(1, frames)
        between = time.perf_counter()
        ids = find_patterns(decoded.column("service"), decoded.column("message")).pattern_ids
        seconds["decode"] += between - began
        seconds["mask"] += time.perf_counter() - between
        tables.append(pa.Table.from_batches([decoded]).append_column("pattern_id", ids))
    began = time.perf_counter()
    table = pa.concat_tables(tables).sort_by([("service", "ascending"), ("pattern_id", "ascending"), ("time", "ascending")])
    with tempfile.NamedTemporaryFile(dir=directory) as file:
        pq.write_table(table, file, compression="zstd", row_group_size=122_880)
        fsync(file.fileno())
    seconds["parquet"] = time.perf_counter() - began
    return {**{name: offset / spent for name, spent in seconds.items()}, "all": offset / sum(seconds.values())}


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
