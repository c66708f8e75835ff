"""Delivered frames as columns: protobuf bytes become one Arrow record batch, normalised as the contract says.

No Python runs for each record, also where every record has values that must be put right.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import ptars
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

from treering.v1 import batch_pb2, log_pb2
from treering.v1.sink_pb2 import DeliveredFrame
from treering_runtime.attributes import named, with_short_keys, with_unique_keys
from treering_runtime.limits import MAX_TIME_UNIX_NANO
from treering_runtime.names import cut, too_long
from treering_runtime.resources import RESOURCE, of_frames

TIME = pa.timestamp("ns")
"""Nanoseconds since 1970, UTC, without a zone (a zone would need pytz to be fetched from DuckDB)."""

ATTRIBUTES = pa.map_(pa.string(), pa.string())

SCHEMA = pa.schema(
    [
        pa.field("log_id", pa.uint64(), nullable=False),
        pa.field("offset", pa.uint64(), nullable=False),
        pa.field("time", TIME, nullable=False),
        pa.field("arrival_time", TIME, nullable=False),
        pa.field("severity", pa.uint8(), nullable=False),
        pa.field("service", pa.string(), nullable=False),
        pa.field("environment", pa.string(), nullable=False),
        pa.field("message", pa.string(), nullable=False),
        pa.field("attributes", ATTRIBUTES, nullable=False),
        pa.field("resource", RESOURCE, nullable=False),
        pa.field("trace_id", pa.binary(), nullable=False),
        pa.field("span_id", pa.binary(), nullable=False),
    ]
)
"""One row for each record; `attributes` are its own, what holds for its batch is in `resource` (see `resources`). `pattern_id` is added by
whoever masks (see `patterns`)."""

TEXTS = pa.schema([SCHEMA.field(name) for name in ("offset", "service", "message")])
"""What masking needs, for who keeps nothing else."""

_MAX_SEVERITY = 24
_TRACE_ID_BYTES = 16
_SPAN_ID_BYTES = 8


class FrameDecoder:
    """Turns frames into record batches. Not for several threads at a time: ptars holds the GIL anyway.

    Args:
        schema: `SCHEMA`, or `TEXTS`, for which only two fields of a record are read: the others are skipped, whatever they hold.
    """

    def __init__(self, schema: pa.Schema = SCHEMA) -> None:
        batch = batch_pb2.LogBatch.DESCRIPTOR if schema is SCHEMA else _narrowed(schema)
        self._handler = ptars.HandlerPool([batch.file]).get_for_message(batch)
        self._schema = schema

    def decode(self, log_id: int, frames: Sequence[DeliveredFrame], skip_below: int = 0) -> pa.RecordBatch:
        """The records of `frames` at or above the offset `skip_below`, in columns of the schema.

        Raises:
            ValueError: A payload is not a valid message, or holds another number of records than its frame says.
        """
        # One call into native code for all frames: the payloads are never parsed by Python's protobuf.
        batches = self._handler.list_to_record_batch([frame.payload for frame in frames])
        lists = batches.column("records")
        counts = np.fromiter((frame.record_count for frame in frames), np.int64, len(frames))
        # Compared frame by frame, not in sum: two frames that are off by one each way would give records wrong offsets.
        if not np.array_equal(np.diff(lists.offsets.to_numpy()), counts):
            raise ValueError("a frame holds another number of records than it says")
        firsts = np.fromiter((frame.first_offset for frame in frames), np.uint64, len(frames))
        records, offsets = lists.flatten(), _offsets(firsts, counts)
        if self._schema is SCHEMA:
            arrivals = np.fromiter((frame.arrival_time_unix_nano for frame in frames), np.uint64, len(frames))
            resources = of_frames(batches.column("resource"), counts)
            batch = _normalise(log_id, records, offsets, np.repeat(arrivals.astype(np.int64), counts), resources)
        else:
            texts = _fields(records)
            service = cut(texts["service"], too_long(texts["service"]))
            batch = pa.RecordBatch.from_arrays([offsets, service, texts["message"]], schema=self._schema)
        # Offsets ascend, so what is skipped is always a prefix, and a slice copies nothing.
        skipped = int(np.searchsorted(batch.column("offset").to_numpy(), skip_below)) if skip_below else 0
        return batch.slice(skipped)


def _narrowed(schema: pa.Schema) -> Descriptor:
    """`LogBatch` with nothing but the records, and of these only the fields of a schema."""
    file = FileDescriptorProto(name="treering/narrowed.proto", package="treering.v1", syntax="proto3")
    for descriptor, wanted in ((log_pb2.LogRecord.DESCRIPTOR, schema.names), (batch_pb2.LogBatch.DESCRIPTOR, ["records"])):
        message = DescriptorProto()
        descriptor.CopyToProto(message)
        kept = [field for field in message.field if field.name in wanted]
        file.message_type.add(name=descriptor.name, field=kept)
    # A pool of its own: the default pool knows the full message under this name already.
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindMessageTypeByName(batch_pb2.LogBatch.DESCRIPTOR.full_name)


def _offsets(firsts: "np.ndarray[tuple[int], np.dtype[np.uint64]]", counts: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> pa.Array:
    starts = np.cumsum(counts) - counts
    within = np.arange(int(counts.sum()), dtype=np.uint64) - np.repeat(starts, counts).astype(np.uint64)
    return pa.array(np.repeat(firsts, counts) + within)


def _normalise(
    log_id: int,
    records: pa.StructArray,
    offsets: pa.Array,
    arrivals: "np.ndarray[tuple[int], np.dtype[np.int64]]",
    resources: pa.DictionaryArray,
) -> pa.RecordBatch:
    fields = _fields(records)
    times, severities = fields["time_unix_nano"].to_numpy(), fields["severity"].to_numpy()
    # Bad values are found first and mended below, so that the usual batch, which has none, pays for the comparisons only.
    bad = {
        "time_unix_nano": times > MAX_TIME_UNIX_NANO,
        "severity": (severities < 0) | (severities > _MAX_SEVERITY),
        "service": too_long(fields["service"]),
        "environment": too_long(fields["environment"]),
        "trace_id": _bad_length(fields["trace_id"], _TRACE_ID_BYTES),
        "span_id": _bad_length(fields["span_id"], _SPAN_ID_BYTES),
    }
    # Long keys before the originals: an original is added under a short key of ours and must not be cut again.
    attributes, long_keys = with_short_keys(fields["attributes"])
    originals = (named(f"treering.{name}", rows, _as_text(fields[name], rows)) for name, rows in _rows(bad))
    columns = [
        pa.repeat(pa.scalar(log_id, pa.uint64()), len(records)),
        offsets,
        # A record without a time has the time of its arrival; one with an impossible time, too, and keeps the original beside it.
        pa.array(np.where((times == 0) | bad["time_unix_nano"], arrivals, times.view(np.int64))).cast(TIME),
        pa.array(arrivals).cast(TIME),
        pa.array(np.where(bad["severity"], 0, severities).astype(np.uint8)),
        cut(fields["service"], bad["service"]),
        cut(fields["environment"], bad["environment"]),
        fields["message"],
        with_unique_keys(attributes, [*long_keys, *originals]),
        resources,
        _emptied(fields["trace_id"], bad["trace_id"]),
        _emptied(fields["span_id"], bad["span_id"]),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def _fields(records: pa.StructArray) -> dict[str, pa.Array]:
    return {field.name: column for field, column in zip(records.type, records.flatten(), strict=True)}


def _bad_length(ids: pa.BinaryArray, wanted: int) -> npt.NDArray[np.bool_]:
    # An id of the wrong length matches nothing in other systems. It is emptied, and the original stays as an attribute.
    lengths = pc.binary_length(ids).to_numpy()
    bad: npt.NDArray[np.bool_] = (lengths != 0) & (lengths != wanted)
    return bad


def _emptied(ids: pa.BinaryArray, bad: npt.NDArray[np.bool_]) -> pa.BinaryArray:
    return pc.if_else(pa.array(bad), pa.scalar(b"", pa.binary()), ids) if bad.any() else ids


def _rows(bad: dict[str, npt.NDArray[np.bool_]]) -> Iterator[tuple[str, npt.NDArray[np.int64]]]:
    """The fields that are bad anywhere, and where."""
    return ((name, np.flatnonzero(mask)) for name, mask in bad.items() if mask.any())


def _as_text(column: pa.Array, rows: npt.NDArray[np.int64]) -> pa.StringArray:
    """The values of some rows as text: texts as they are, numbers in decimal, bytes in lower-case hex."""
    chosen = column.take(pa.array(rows))
    if not pa.types.is_binary(chosen.type):
        return chosen.cast(pa.string())
    offsets = np.concatenate([[0], np.cumsum(pc.binary_length(chosen).to_numpy())])
    digits = b"".join(chosen.to_pylist()).hex().encode()
    return pa.StringArray.from_buffers(len(chosen), pa.py_buffer((2 * offsets).astype(np.int32)), pa.py_buffer(digits))
