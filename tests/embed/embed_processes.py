"""The real service as a process, started, fed and killed."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.embed.embed_doubles import LOG_ID, frame
from tests.links import links_of
from tests.patience import PATIENCE_S
from treering.inner import SOCKET, socket_address
from treering.inner.channels import connect_async
from treering.inner.version import PROTOCOL_VERSION
from treering.v1.sink_pb2 import DeliverLogsRequest, DeliveryStart
from treering.v1.sink_pb2_grpc import SinkServiceStub

SERVICE = (sys.executable, "-m", "treering_embed")


def environment_for(data_dir: Path) -> dict[str, str]:
    return os.environ | {
        "HF_HUB_OFFLINE": "1",
        "TREERING_EMBED_DATA_DIR": str(data_dir),
        "TREERING_EMBED_LISTEN": "127.0.0.1:0",
        "TREERING_EMBED_METRICS_LISTEN": "127.0.0.1:0",
    }


def inner_of(data_dir: Path) -> str:
    """Where the service on a directory has its inner plane."""
    return socket_address(data_dir / SOCKET)


def start_service(data_dir: Path, command: Sequence[str] = SERVICE) -> tuple[subprocess.Popen[str], str]:
    errors = (data_dir.parent / "stderr").open("a")
    child = subprocess.Popen(command, env=environment_for(data_dir), stdout=subprocess.PIPE, stderr=errors, text=True)
    errors.close()
    assert child.stdout is not None
    line = child.stdout.readline()
    assert line, (data_dir.parent / "stderr").read_text()
    return child, json.loads(line)["address"]


def end(child: subprocess.Popen[str], number: int) -> int:
    child.send_signal(number)
    code = child.wait(PATIENCE_S)
    assert child.stdout is not None
    child.stdout.close()
    return code


def words(number: int) -> str:
    """A number in letters, so that no two messages share a pattern."""
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))


async def deliver(data_dir: Path, messages: list[str], field: str, until: int) -> int:
    """Delivers from where the sink stands; returns its progress in `field` once it is at least `until`."""
    async with connect_async(inner_of(data_dir)) as channel:
        call = SinkServiceStub(channel).DeliverLogs()
        await call.write(DeliverLogsRequest(start=DeliveryStart(log_id=LOG_ID, protocol_version=PROTOCOL_VERSION)))
        stands = (await call.read()).progress.next_offset
        if stands < len(messages):
            rest = [frame(stands, messages[stands:])]
            await call.write(DeliverLogsRequest(frames=rest, links=links_of(rest)))
        while (reached := getattr((await call.read()).progress, field)) < until:
            pass
        call.cancel()
        return reached
