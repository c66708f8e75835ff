import pytest

from treering_embed.encoder.renderings import render, split_identifiers, words_of


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nova/compute.apiServer", "nova compute api Server"),
        ("HTTPServer_main", "HTTP Server main"),
        ("", ""),
        ("///", ""),
        ("Ünïcode-Dienst", "Ünïcode Dienst"),
    ],
)
def test_names_in_words(name: str, words: str) -> None:
    assert words_of(name) == words


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("deleteInstance failed", "delete Instance failed"),
        ("java.net.SocketException: x", "java net Socket Exception: x"),
        ("disk_full at /var/lib", "disk full at /var/lib"),
        ("ends here. And goes on ...", "ends here. And goes on ..."),
        ("10.0.0.7 <*>", "10 0 0 7 <*>"),
    ],
)
def test_identifiers_inside_text(text: str, split: str) -> None:
    assert split_identifiers(text) == split


def test_both_renderings_carry_the_service() -> None:
    assert render("nova/computeManager", "lost <*>", "lost deviceName") == (
        "compute Manager: lost <*>",
        "nova/computeManager: lost device Name",
    )
    assert render("", "a <*>", "a 1") == ("a <*>", "a 1")
