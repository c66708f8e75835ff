"""The packaged model: built from its weights, equal to the SentenceTransformer, and good enough to tell meanings apart."""

import random
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.embed.real_models import encode_all, least_cosines
from treering_embed.encoder import Encoded, graph
from treering_embed.encoder.compiled import CompiledEncoder
from treering_embed.encoder.prepare import prepare
from treering_embed.encoder.renderings import render
from treering_embed.encoder.sample import TEXTS
from treering_embed.encoder.tensors import TensorFile
from treering_embed.encoder.weights import DEFAULT_MODEL, DEFAULT_SHA256, locate
from treering_embed.limits import MAX_WORDPIECES
from treering_runtime.errors import StartError

ODD_WORDS = (
    "😀",
    "مرحبا",
    "日本語",
    "naïve",
    "İstanbul",
    "\u017f",
    "\u202e",
    "zwj\u200d",
    "0x7ffe12",
    "<*>",
    "\x00",
    "a_b-c.d/e:f",
    "'quoted'",
)
ODD_TEXTS = ["", " ", "\n", "\x00", "😀", "مرحبا", "x" * 100_000, "word " * 5_000, "日本語" * 200, ".", "é" * 127, "a " * 126, "a " * 127]


def texts_of_all_lengths() -> list[str]:
    """The sample, odd ones, and one of each number of words up to more than fit."""
    draw = random.Random(14)
    words = [*" ".join(TEXTS).split(), *ODD_WORDS]
    return [*TEXTS, *ODD_TEXTS, *(" ".join(draw.choices(words, k=length)) for length in range(1, MAX_WORDPIECES + 8))]


@pytest.fixture(scope="module")
def path() -> Path:
    return locate(DEFAULT_MODEL).path


@pytest.fixture(scope="module")
def encoder(path: Path) -> CompiledEncoder:
    return CompiledEncoder(path, 2)


@pytest.fixture(scope="module")
def by_sentence_transformers(path: Path) -> Encoded:
    from treering_embed.encoder.reference import ReferenceEncoder  # noqa: PLC0415 - imports torch: seconds for every run of pytest

    return encode_all(ReferenceEncoder(path, 2), texts_of_all_lengths())


@pytest.mark.model
@pytest.mark.parametrize(("precision", "dense", "tokens"), [("f32", 0.999999, 0.99999), ("", 0.9999, 0.999)])
def test_the_built_model_computes_what_the_sentence_transformer_does(
    path: Path, by_sentence_transformers: Encoded, precision: str, dense: float, tokens: float
) -> None:
    """In float32, and in what is fastest here, which is bfloat16 on some processors."""
    built = encode_all(CompiledEncoder(path, 2, precision), texts_of_all_lengths())
    assert [row.tolist() for row in built.pieces] == [row.tolist() for row in by_sentence_transformers.pieces]
    found = least_cosines(built, by_sentence_transformers)
    assert found[0] >= dense
    assert found[1] >= tokens


@pytest.mark.model
def test_all_vectors_have_unit_length(encoder: CompiledEncoder) -> None:
    encoded = encode_all(encoder, texts_of_all_lengths())
    np.testing.assert_allclose(np.linalg.norm(encoded.dense, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(np.concatenate(encoded.tokens), axis=1), 1.0, atol=1e-5)


@pytest.mark.model
async def test_a_processor_that_computes_something_else_is_noticed_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "_HEADS", 6)
    with pytest.raises(StartError, match=r"model=all-MiniLM-L6-v2: it cannot be loaded .* instead of .*; set encoder=reference"):
        await prepare(DEFAULT_MODEL, tmp_path, 2)


def test_tensors_are_those_that_the_safetensors_package_reads(path: Path) -> None:
    wanted = load_file(path / "model.safetensors")
    read = TensorFile(path / "model.safetensors").tensors
    assert set(read) == {name for name, tensor in wanted.items() if tensor.dtype == np.float32}
    for name, tensor in read.items():
        np.testing.assert_array_equal(tensor, wanted[name])


def test_tensors_are_the_same_after_their_pages_were_given_back(path: Path) -> None:
    file = TensorFile(path / "model.safetensors")
    before = file.tensors["embeddings.LayerNorm.weight"].copy()
    file.release_pages()
    np.testing.assert_array_equal(file.tensors["embeddings.LayerNorm.weight"], before)


@pytest.mark.model
def test_batching_changes_no_vector(encoder: CompiledEncoder) -> None:
    texts = list(TEXTS[:40])
    together = encoder.encode(texts)
    alone = [encoder.encode([text]) for text in texts]
    np.testing.assert_allclose(together.dense, np.concatenate([one.dense for one in alone]), atol=2e-3)
    for rows, one in zip(together.tokens, alone, strict=True):
        np.testing.assert_allclose(rows, one.tokens[0], atol=5e-3)


@pytest.mark.model
def test_a_run_leaves_the_vectors_of_the_run_before_alone(encoder: CompiledEncoder) -> None:
    first = encoder.encode(["disk full", "network down"])
    copies = first.dense.copy(), [rows.copy() for rows in first.tokens]
    encoder.encode(["something else", "quite different"])
    np.testing.assert_array_equal(first.dense, copies[0])
    for rows, copy in zip(first.tokens, copies[1], strict=True):
        np.testing.assert_array_equal(rows, copy)


@pytest.mark.model
def test_long_and_odd_texts_give_finite_vectors(encoder: CompiledEncoder) -> None:
    encoded = encoder.encode(["x" * 100_000, "word " * 5_000, "", " ", "\x00", "😀", "مرحبا"])
    assert np.isfinite(encoded.dense).all()
    assert max(map(len, encoded.pieces)) == 126
    assert len(encoded.tokens[2]) == 0


@pytest.mark.model
def test_paraphrases_find_their_pattern(encoder: CompiledEncoder) -> None:
    patterns = [
        ("auth/sshd", "Failed password for <*> from <*>", "Failed password for root from 10.0.0.7"),
        ("storage", "write failed on <*>: no space left", "write failed on /dev/sda1: no space left"),
        ("billing/payments", "card <*> declined by issuer", "card 4242 declined by issuer"),
        ("web", "upstream <*> did not answer within <*> ms", "upstream 10.1.1.1 did not answer within 3000 ms"),
        ("cluster", "node <*> joined, <*> members", "node n7 joined, 5 members"),
    ]
    questions = [
        "somebody is guessing credentials", "the hard disk has run out of room", "a customer could not pay",
        "the backend is too slow", "a new machine came into the group",
    ]  # fmt: skip
    rendered = [render(*pattern) for pattern in patterns]
    dense = encoder.encode([a for a, _ in rendered]).dense + encoder.encode([b for _, b in rendered]).dense
    similar = encoder.encode(questions).dense @ dense.T
    assert similar.argmax(axis=1).tolist() == [0, 1, 2, 3, 4]


def test_the_sample_is_two_hundred_different_texts() -> None:
    assert (len(TEXTS), len(set(TEXTS))) == (200, 200)


def test_a_model_that_is_not_there_is_named() -> None:
    with pytest.raises(StartError, match="model=/no/such/model: there is no such directory"):
        locate("/no/such/model")


def test_a_directory_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="holds no SentenceTransformer"):
        locate(str(tmp_path))


def test_weights_that_differ_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("treering_embed.encoder.weights.DEFAULT_SHA256", "0" * 64)
    with pytest.raises(StartError, match=f"has sha256 {DEFAULT_SHA256}, expected 0000"):
        locate(DEFAULT_MODEL)
