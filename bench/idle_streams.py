"""Many open uploads in a process of their own: `python bench/idle_streams.py ADDRESS COUNT`.

Half of them have sent one record and are silent; the others send one every few seconds. Says `open` once ingest has acknowledged something
on each, and stays until its input ends.
"""

import asyncio
import sys
import uuid

import grpc
from load.sender import STREAM

from treering.v1.batch_pb2 import LogBatch
from treering.v1.ingest_pb2 import StreamLogsRequest, StreamLogsResponse
from treering.v1.log_pb2 import LogRecord

STREAMS_PER_CHANNEL = 50
PAUSE_S = 5.0
"""A slow stream sends so often."""


def _request(producer_id: str, sequence: int) -> StreamLogsRequest:
    record = LogRecord(service="slow", message=f"still here, round {sequence}")
    return StreamLogsRequest(producer_id=producer_id, sequence=sequence, batch=LogBatch(records=[record]))


async def _keep_open(channel: grpc.aio.Channel, number: int, opened: asyncio.Semaphore) -> None:
    connect: grpc.aio.StreamStreamMultiCallable[StreamLogsRequest, StreamLogsResponse]
    connect = channel.stream_stream(STREAM, StreamLogsRequest.SerializeToString, StreamLogsResponse.FromString)
    call, producer_id, sequence = connect(), uuid.uuid4().hex, 1
    await call.write(_request(producer_id, sequence))
    await call.read()
    opened.release()
    while number % 2:
        await asyncio.sleep(PAUSE_S)
        sequence += 1
        await call.write(_request(producer_id, sequence))
        await call.read()
    await asyncio.Event().wait()


async def _main(address: str, count: int) -> None:
    opened = asyncio.Semaphore(0)
    options = (("grpc.use_local_subchannel_pool", 1),)
    channels = [grpc.aio.insecure_channel(address, options=options) for _ in range(0, count, STREAMS_PER_CHANNEL)]
    tasks = [asyncio.create_task(_keep_open(channels[number // STREAMS_PER_CHANNEL], number, opened)) for number in range(count)]
    for _ in range(count):
        await opened.acquire()
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2])))
