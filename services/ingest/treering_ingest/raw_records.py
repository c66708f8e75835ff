"""Records as they came: with every entry of their attributes, in order, also those whose key comes again.

A map of the generated code knows only the last value of a key, and drops an entry that holds a field it does not know. The wire does not
tell a map from a list of entries, so that the same bytes are read as that.
"""

from collections.abc import Sequence
from functools import cache
from typing import Protocol, cast

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from treering.v1 import ingest_pb2, log_pb2


class RawEntry(Protocol):
    """One attribute."""

    key: str
    value: str


class RawRecord(Protocol):
    """A `LogRecord`, but for its attributes."""

    time_unix_nano: int
    severity: int
    service: str
    environment: str
    message: str
    attributes: Sequence[RawEntry]
    trace_id: bytes
    span_id: bytes


def raw_records(payload: bytes) -> Sequence[RawRecord]:
    """The records of a serialised UploadLogsRequest.

    Raises:
        DecodeError: It is none.
    """
    batch = _batch_class().FromString(payload)
    return cast("Sequence[RawRecord]", batch.records)  # type: ignore[attr-defined]  # made at run time


# Built once, at the first digest: the door itself has no need of it.
@cache
def _batch_class() -> type[Message]:
    records, batches = FileDescriptorProto(), FileDescriptorProto()
    log_pb2.DESCRIPTOR.CopyToProto(records)
    ingest_pb2.DESCRIPTOR.CopyToProto(batches)
    record = next(message for message in records.message_type if message.name == log_pb2.LogRecord.DESCRIPTOR.name)
    for entry in record.nested_type:
        # An entry of a map is an ordinary message with this mark. Without it the field is a list, and the bytes are read as one.
        entry.options.map_entry = False
    # A pool of its own: in the shared one the names stand for the generated classes, and a second definition is refused.
    pool = DescriptorPool()
    # In this order: a file must be there before one that imports it.
    pool.AddSerializedFile(records.SerializeToString())
    pool.AddSerializedFile(batches.SerializeToString())
    return GetMessageClass(pool.FindMessageTypeByName(ingest_pb2.UploadLogsRequest.DESCRIPTOR.full_name))
