"""An embed directory that holds patterns with vectors nobody computed: as large as the real ones, and random.

What a search costs depends on how many vectors there are and how long, not on what they say; computing 100,000 of them takes minutes.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc
import numpy as np
import pyarrow as pa
from processes import embed_running
from tokenizers import Tokenizer

from treering.v1.embed_pb2 import GetEmbedStatusRequest
from treering.v1.embed_pb2_grpc import EmbedServiceStub
from treering.v1.log_pb2 import LogRecord
from treering_embed.application import REGISTRY_FILE
from treering_embed.encoder import unit
from treering_embed.encoder.late import PieceFrequencies
from treering_embed.encoder.renderings import render
from treering_embed.encoder.weights import DEFAULT_MODEL, locate
from treering_embed.index import Index, PatternPoint
from treering_embed.index.opening import open_edge
from treering_embed.limits import LATE_DIMENSION, MAX_WORDPIECES
from treering_embed.registry.ledgers import CurrentLedger
from treering_embed.registry.registry import RegisteredPattern, Registry
from treering_runtime.patterns import MASK_VERSION, find_patterns

_LOG_ID = 1
_BATCH = 512
_DAY = 0
"""Registered long ago: nothing of the day's cap is used up."""


def fill(data_dir: Path, records: Sequence[LogRecord]) -> None:
    """Registers the patterns of `records` as indexed, in the directory of an embed service that does not run.

    An empty directory is first made by a start of the service, which also prepares the model there.
    """
    with embed_running(data_dir) as (address, _), grpc.insecure_channel(address) as channel:
        dimension = EmbedServiceStub(channel).GetEmbedStatus(GetEmbedStatusRequest()).dimension
    registry = Registry(data_dir / REGISTRY_FILE)
    ledger = CurrentLedger(registry.db)
    note = ledger.note()
    assert note is not None
    index = open_edge(data_dir / "index", note.name, dimension)
    frequencies = PieceFrequencies()
    for patterns in _patterns(records):
        registry.commit({}, patterns, {}, [], day=_DAY, now=_DAY * 86_400, mask_version=MASK_VERSION)
        index.upsert(list(_points(patterns, dimension, frequencies)))
        index.flush()
        ledger.mark(dict.fromkeys((pattern.pattern_id for pattern in patterns), ""), frequencies.to_bytes())
    _close(index, registry)


def _close(index: Index, registry: Registry) -> None:
    index.close()
    registry.close()


def _patterns(records: Sequence[LogRecord]) -> Iterator[list[RegisteredPattern]]:
    for start in range(0, len(records), _BATCH):
        some = records[start : start + _BATCH]
        found = find_patterns(pa.array([record.service for record in some]), pa.array([record.message for record in some]))
        columns = (found.distinct_ids.to_pylist(), found.texts.to_pylist(), found.first_rows.to_pylist())
        yield [
            RegisteredPattern(key, some[row].service, text, some[row].message, _LOG_ID, start + row)
            for key, text, row in zip(*columns, strict=True)
        ]


def _points(patterns: Sequence[RegisteredPattern], dimension: int, frequencies: PieceFrequencies) -> Iterator[PatternPoint]:
    tokenizer = Tokenizer.from_file(str(locate(DEFAULT_MODEL).path / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_WORDPIECES)
    texts = [render(pattern.service, pattern.text, pattern.example)[1] for pattern in patterns]
    rng = np.random.default_rng(patterns[0].pattern_id)
    for pattern, encoding in zip(patterns, tokenizer.encode_batch_fast(texts, add_special_tokens=False), strict=True):
        frequencies.add(np.array(encoding.ids, np.int64))
        tokens = rng.standard_normal((len(encoding.ids), LATE_DIMENSION), np.float32)
        yield PatternPoint(pattern.pattern_id, pattern.service, unit(rng.standard_normal(dimension, np.float32)), unit(tokens))
