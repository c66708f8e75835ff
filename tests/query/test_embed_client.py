import pytest

from treering_query.meaning import embed_client
from treering_query.meaning.embed_client import EmbedClient
from treering_runtime.channels import Peer


@pytest.mark.parametrize("ask", [lambda client: client.score(["x"], [], 5.0), lambda client: client.forget([], [])])
async def test_a_question_without_memory_to_send_it_is_not_sent_as_an_empty_one(tmp_path, monkeypatch, ask):
    """Embed would answer what nobody asked."""
    (tmp_path / "inner").mkdir(mode=0o700)
    client = EmbedClient(Peer(f"unix:{tmp_path}/inner/s"))
    for name in ("ScorePatternsRequest", "ForgetPatternsRequest"):
        monkeypatch.setattr(embed_client, name, lambda **_: object())
    with pytest.raises(TypeError):
        await ask(client)
    await client.close()
