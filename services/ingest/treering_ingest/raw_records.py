"""Batches as they came: records with every entry of their attributes, in order, also those whose key comes again.

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

from treering.v1 import batch_pb2, log_pb2


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


class RawBatch(Protocol):
    """A `LogBatch`, but for its attributes."""

    records: Sequence[RawRecord]
    resource: Sequence[RawEntry]


def raw_batch(payload: bytes) -> RawBatch:
    """A serialised LogBatch.

    Raises:
        DecodeError: It is none.
    """
    return cast("RawBatch", _batch_class().FromString(payload))


# Built once, at the first digest: the door itself has no need of it.
@cache
def _batch_class() -> type[Message]:
    records, batches = FileDescriptorProto(), FileDescriptorProto()
    log_pb2.DESCRIPTOR.CopyToProto(records)
    batch_pb2.DESCRIPTOR.CopyToProto(batches)
    for message in (*records.message_type, *batches.message_type):
        for entry in message.nested_type:
            # An entry of a map is an ordinary message with this mark. Without it the field is a list, and the bytes are read as one.
            entry.options.map_entry = False
    # A pool of its own: in the shared one the names stand for the generated classes, and a second definition is refused.
    pool = DescriptorPool()
    # In this order: a file must be there before one that imports it.
    pool.AddSerializedFile(records.SerializeToString())
    pool.AddSerializedFile(batches.SerializeToString())
    return GetMessageClass(pool.FindMessageTypeByName(batch_pb2.LogBatch.DESCRIPTOR.full_name))
