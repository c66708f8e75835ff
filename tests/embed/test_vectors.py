"""A text that the model fails on holds up no other, and a model that is out of order blames no text."""

from collections.abc import Sequence

import pytest

from tests.embed.embed_doubles import OneModel, WordEncoder, frame, running, word_model
from treering.v1 import admin_pb2
from treering_embed.encoder import Encoded
from treering_embed.encoder.late import PieceFrequencies
from treering_embed.registry.ledgers import CurrentLedger
from treering_embed.registry.registry import Registry
from treering_embed.settings import EmbedSettings
from treering_runtime.patterns import pattern_id


class Picky(WordEncoder):
    """Fails on texts that hold a word, and for some runs on everything."""

    def __init__(self, out_of_order: int = 0) -> None:
        super().__init__()
        self.out_of_order = out_of_order

    def encode(self, texts: Sequence[str]) -> Encoded:
        if self.out_of_order:
            self.out_of_order -= 1
            raise RuntimeError("out of memory")
        if any("poison" in text for text in texts):
            raise RuntimeError("Overflow")
        return super().encode(texts)


def states(settings: EmbedSettings) -> tuple[set[int], dict[int, str], PieceFrequencies]:
    registry = Registry(settings.data_dir / "registry.sqlite")
    ledger = CurrentLedger(registry.db)
    found = ledger.indexed_ids(), ledger.set_aside(), PieceFrequencies.from_bytes(ledger.frequencies())
    registry.close()
    return found


@pytest.mark.parametrize("bad", [{3}, {0, 1, 39}, set(range(40))])
async def test_texts_that_the_model_fails_on_are_found_and_set_aside_with_the_reason(settings: EmbedSettings, bad: set[int]) -> None:
    messages = [f"{'poison' if n in bad else 'healthy'} {'x' * (n + 1)}" for n in range(40)]
    async with running(settings, OneModel(word_model(encoder=Picky()))) as service:
        progress = await service.deliver([frame(0, messages)])
        assert progress.visible_end_offset == len(messages)
        digest = [part async for part in service.admin.DigestIndex(admin_pb2.DigestIndexRequest())]
        refused = {pattern_id("shop/checkout", messages[n]) for n in bad}
        assert {key for part in digest for key in part.unreadable_ids} == refused
    indexed, set_aside, frequencies = states(settings)
    assert len(indexed) == len(messages) - len(bad)
    assert set_aside == dict.fromkeys(refused, "the model fails on it (RuntimeError)")
    assert frequencies.documents == len(indexed)


async def test_a_model_that_is_out_of_order_for_a_while_blames_nobody_and_counts_once(
    settings: EmbedSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("treering_embed.indexing.indexer.RETRY_MIN_S", 0.01)
    async with running(settings, OneModel(word_model(encoder=Picky(out_of_order=30)))) as service:
        await service.deliver([frame(0, ["one", "two", "three"])])
    indexed, set_aside, frequencies = states(settings)
    assert (len(indexed), set_aside, frequencies.documents) == (3, {}, 3)
