"""The order of the indexer's steps is what a crash between them may leave."""

from embed_doubles import frame, running

from treering_embed.index.edge import EdgeIndex
from treering_embed.ledgers import CurrentLedger


async def test_patterns_are_flushed_to_disk_before_they_count_as_indexed(settings, monkeypatch):
    steps = []
    for owner, name in ((EdgeIndex, "upsert"), (EdgeIndex, "flush"), (CurrentLedger, "mark")):
        original = getattr(owner, name)
        monkeypatch.setattr(owner, name, noting(steps, name, original))
    async with running(settings) as service:
        steps.clear()
        await service.deliver([frame(0, ["payment declined", "disk full"])])
    since_upsert = steps[steps.index("upsert") :]
    assert "flush" in since_upsert[: since_upsert.index("mark")]


def noting(steps, name, original):
    def noted(*arguments):
        steps.append(name)
        return original(*arguments)

    return noted
