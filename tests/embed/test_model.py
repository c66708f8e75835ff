"""The real model: exported, compared with its reference, and good enough to tell meanings apart."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from treering_embed.encoder.export import compare, encode_all
from treering_embed.encoder.fast import FastEncoder
from treering_embed.encoder.manifest import Agreement, Manifest
from treering_embed.encoder.prepare import prepare
from treering_embed.encoder.sample import TEXTS
from treering_embed.encoder.weights import DEFAULT_MODEL, DEFAULT_SHA256, locate
from treering_embed.renderings import render
from treering_runtime.errors import StartError


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("encoder")


@pytest.fixture
async def model(cache):
    return await prepare(DEFAULT_MODEL, cache, 2, fast=True)


@pytest.mark.model
async def test_the_fast_path_is_used_and_the_child_left_nothing_half_done(model, cache):
    assert (model.encoder.name, model.encoder.dimension) == ("openvino", 384)
    assert model.weights.sha256 == DEFAULT_SHA256
    assert [path.name for path in cache.iterdir()] == [model.identity]
    manifest = Manifest.read(cache / model.identity)
    assert manifest is not None
    assert manifest.problem == ""
    assert manifest.mean_cosine > 0.999


@pytest.mark.model
def test_a_prepared_model_is_loaded_without_torch(model, cache):
    code = (
        "import asyncio, sys, pathlib\n"
        "from treering_embed.encoder.prepare import prepare\n"
        f"m = asyncio.run(prepare('all-MiniLM-L6-v2', pathlib.Path({str(cache)!r}), 2, fast=True))\n"
        "m.encoder.encode(['hello'])\n"
        "print([name for name in ('torch', 'sentence_transformers', 'transformers') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.model
async def test_batching_changes_no_vector(model):
    texts = list(TEXTS[:40])
    together = model.encoder.encode(texts)
    alone = [model.encoder.encode([text]) for text in texts]
    np.testing.assert_allclose(together.dense, np.concatenate([one.dense for one in alone]), atol=2e-3)
    for rows, one in zip(together.tokens, alone, strict=True):
        np.testing.assert_allclose(rows, one.tokens[0], atol=5e-3)


@pytest.mark.model
async def test_long_and_odd_texts_give_finite_vectors(model):
    encoded = model.encoder.encode(["x" * 100_000, "word " * 5_000, "", " ", "\x00", "😀", "مرحبا"])
    assert np.isfinite(encoded.dense).all()
    assert max(map(len, encoded.pieces)) == 126
    assert len(encoded.tokens[2]) == 0


@pytest.mark.model
async def test_paraphrases_find_their_pattern(model):
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
    dense = model.encoder.encode([a for a, _ in rendered]).dense + model.encoder.encode([b for _, b in rendered]).dense
    similar = model.encoder.encode(questions).dense @ dense.T
    assert similar.argmax(axis=1).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.model
def test_a_model_that_the_fast_path_cannot_imitate_is_served_by_the_reference(tmp_path, cache):
    """A model that pools by its first token: the mean over tokens disagrees, and the manifest says so."""
    path = tmp_path / "model"
    shutil.copytree(locate(DEFAULT_MODEL).path, path)
    pooling = path / "1_Pooling" / "config.json"
    pooling.write_text(json.dumps({"word_embedding_dimension": 384, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}))
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run([sys.executable, "-m", "treering_embed.encoder.export", str(path), str(out), "2"], check=True, capture_output=True)
    manifest = Manifest.read(out)
    assert manifest is not None
    assert not manifest.fast
    assert "cosine to the reference" in manifest.problem


@pytest.mark.model
async def test_weights_that_were_exchanged_are_not_taken_for_the_fast_path(model, cache):
    wanted = encode_all(model.encoder)
    other = encode_all(FastEncoder(cache / model.identity, 1))
    assert compare(wanted, other).good
    other.dense[:] = np.roll(other.dense, 1, axis=0)
    assert not compare(wanted, other).good


@pytest.mark.parametrize(("mean", "least", "good"), [(0.99, 0.97, True), (0.989, 0.98, False), (0.999, 0.96, False)])
def test_the_bounds_of_agreement(mean, least, good):
    assert Agreement(mean, least).good is good


def test_the_sample_is_two_hundred_different_texts():
    assert (len(TEXTS), len(set(TEXTS))) == (200, 200)


def test_a_model_that_is_not_there_is_named():
    with pytest.raises(StartError, match="model=/no/such/model: there is no such directory"):
        locate("/no/such/model")


def test_a_directory_without_a_model_is_named(tmp_path):
    with pytest.raises(StartError, match="holds no SentenceTransformer"):
        locate(str(tmp_path))


def test_weights_that_differ_are_refused(monkeypatch):
    monkeypatch.setattr("treering_embed.encoder.weights.DEFAULT_SHA256", "0" * 64)
    with pytest.raises(StartError, match=f"has sha256 {DEFAULT_SHA256}, expected 0000"):
        locate(DEFAULT_MODEL)
