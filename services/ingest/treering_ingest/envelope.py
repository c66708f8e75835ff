"""What is around a batch: who sends it, and its bytes as they came.

The batch is stored as its sender encoded it. So it is taken out of the request with messages that know a field as bytes only: the parser
that reads the whole request reads these too, and both agree on what is a field and what is not.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, cast

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from treering.v1.batch_pb2 import LogBatch
from treering.v1.ingest_pb2 import UploadLogsRequest


class Envelope(NamedTuple):
    """An opened request; `batch` is the serialised LogBatch."""

    producer_id: str
    sequence: int
    batch: bytes


class Parts(Protocol):
    """The fields of a LogBatch that are lists, each element as its bytes."""

    records: Sequence[bytes]
    resource_logs: Sequence[bytes]
    resource: Sequence[bytes]


def opened(received: bytes) -> Envelope:
    """Opens a serialised UploadLogsRequest or StreamLogsRequest; what is in its batch is not looked at.

    Raises:
        DecodeError: It is neither.
    """
    request = _ENVELOPE.FromString(received)
    # A message may come in several parts: one behind the other they are the whole.
    parts = request.batch  # type: ignore[attr-defined]  # made at run time
    return Envelope(request.producer_id, request.sequence, parts[0] if len(parts) == 1 else b"".join(parts))  # type: ignore[attr-defined]


def parts(batch: bytes) -> Parts:
    """The lists of a serialised LogBatch: 16 bytes an element, where an unfolded record takes many times as much.

    Raises:
        DecodeError: It is none.
    """
    return cast("Parts", _PARTS.FromString(batch))


def _as_bytes(file: FileDescriptorProto, kind: DescriptorProto, names: Sequence[str], whole: Sequence[str] = ()) -> None:
    """Adds a message with some fields of another one: `names` as lists of bytes, `whole` as they are."""
    message = file.message_type.add(name=kind.name)
    for field in kind.field:
        if field.name in names:
            message.field.add(name=field.name, number=field.number, type=_BYTES, label=_REPEATED)
        elif field.name in whole:
            message.field.append(field)


_BYTES, _REPEATED = FieldDescriptorProto.TYPE_BYTES, FieldDescriptorProto.LABEL_REPEATED


def _narrowed() -> DescriptorPool:
    file = FileDescriptorProto(name="treering/envelope.proto", package="treering.v1", syntax="proto3")
    request, batch = DescriptorProto(), DescriptorProto()
    UploadLogsRequest.DESCRIPTOR.CopyToProto(request)
    LogBatch.DESCRIPTOR.CopyToProto(batch)
    _as_bytes(file, request, ["batch"], whole=["producer_id", "sequence"])
    _as_bytes(file, batch, ["records", "resource_logs", "resource"])
    # A pool of its own: in the shared one the names stand for the generated classes, and a second definition is refused.
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool


_POOL = _narrowed()
_ENVELOPE = GetMessageClass(_POOL.FindMessageTypeByName(UploadLogsRequest.DESCRIPTOR.full_name))
_PARTS = GetMessageClass(_POOL.FindMessageTypeByName(LogBatch.DESCRIPTOR.full_name))
