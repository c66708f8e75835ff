"""How models are prepared, and what is kept of them beside the index."""

import asyncio
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.embed.embed_doubles import settings_for
from tests.embed.real_models import make_small_model
from treering_embed.encoder.models import StoredModels
from treering_embed.encoder.prepare import KEPT_FILES, PreparedModel, prepare, sampled
from treering_embed.encoder.weights import DEFAULT_MODEL, DEFAULT_SHA256, locate
from treering_embed.engine.choice import index_identity
from treering_runtime.errors import StartError

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PreparedModel]:
    """A data directory's `encoder`, and the model prepared there first."""
    cache = tmp_path_factory.mktemp("encoder")
    return cache, asyncio.run(prepare(DEFAULT_MODEL, cache, 2))


@pytest.fixture(scope="module")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_small_model(tmp_path_factory.mktemp("small"))


def test_the_packaged_model_is_built_and_its_basis_kept(kept: tuple[Path, PreparedModel]) -> None:
    cache, model = kept
    assert (model.encoder.name, model.encoder.dimension, model.weights.sha256) == ("openvino", 384, DEFAULT_SHA256)
    assert {path.relative_to(cache).as_posix() for path in cache.rglob("*")} == {
        model.identity,
        *(f"{model.identity}/{name}" for name in KEPT_FILES),
    }


def test_the_packaged_basis_spans_what_the_model_makes_of_the_sample_texts(kept: tuple[Path, PreparedModel]) -> None:
    """Derived on this processor it may be turned a little; what is projected on it is nearly the same."""
    _, model = kept
    basis, frequencies = sampled(model.encoder)
    assert np.linalg.svd(basis.T @ model.basis, compute_uv=False).min() > 0.99
    assert frequencies == model.frequencies


async def test_indexes_that_the_exported_form_made_stay_valid(kept: tuple[Path, PreparedModel]) -> None:
    """Their identity is pinned here: another one embeds everything anew on each machine."""
    _, model = kept
    assert model.identity == "edf85b235aed7e43-3"
    assert index_identity(model) == "ca61adf84a85082c"


async def test_the_basis_of_an_index_is_never_derived_again(tmp_path: Path, kept: tuple[Path, PreparedModel]) -> None:
    """The token vectors in the index were projected on it; former versions kept the exported model beside it."""
    _, model = kept
    settings = settings_for(tmp_path)
    directory = tmp_path / "encoder" / model.identity
    directory.mkdir(parents=True)
    np.save(directory / "basis.npy", -model.basis)
    (directory / "frequencies.bin").write_bytes(b"\1\0\0\0")
    for name in ("model.xml", "model.bin", "tokenizer.json", "manifest.json"):
        (directory / name).write_text("of a former version")
    models = StoredModels(settings)
    again = await models.prepare(DEFAULT_MODEL)
    np.testing.assert_array_equal(again.basis, -model.basis)
    assert again.frequencies == b"\1\0\0\0"
    await models.keep_only({model.identity})
    assert {path.name for path in directory.iterdir()} == KEPT_FILES


async def test_a_crash_before_the_basis_was_written_derives_all_again(tmp_path: Path, kept: tuple[Path, PreparedModel]) -> None:
    _, model = kept
    (tmp_path / model.identity).mkdir()
    (tmp_path / model.identity / "frequencies.bin").write_bytes(b"\1\0\0\0")
    again = await prepare(DEFAULT_MODEL, tmp_path, 2)
    np.testing.assert_array_equal(again.basis, model.basis)
    assert again.frequencies == model.frequencies


async def test_another_model_is_run_by_sentence_transformers(tmp_path: Path, small_model: Path) -> None:
    model = await prepare(str(small_model), tmp_path, 2)
    assert (model.encoder.name, model.encoder.dimension, model.basis.shape) == ("sentence-transformers", 64, (64, 96))
    encoded = model.encoder.encode(["one", "two words"])
    assert (encoded.dense.shape, [rows.shape for rows in encoded.tokens]) == ((2, 64), [(1, 64), (2, 64)])


async def test_encoder_reference_runs_the_packaged_model_by_sentence_transformers_with_the_same_identity(
    tmp_path: Path, kept: tuple[Path, PreparedModel]
) -> None:
    _, built = kept
    model = await StoredModels(settings_for(tmp_path, encoder="reference")).prepare(DEFAULT_MODEL)
    assert (model.encoder.name, model.identity) == ("sentence-transformers", built.identity)


async def test_a_model_that_pools_by_its_first_wordpiece_is_served_as_it_is(tmp_path: Path, kept: tuple[Path, PreparedModel]) -> None:
    """Whatever a SentenceTransformer does, it is what serves."""
    path = tmp_path / "model"
    shutil.copytree(locate(DEFAULT_MODEL).path, path)
    pooling = path / "1_Pooling" / "config.json"
    pooling.write_text(json.dumps({"word_embedding_dimension": 384, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}))
    model = await prepare(str(path), tmp_path / "encoder", 2)
    _, built = kept
    assert model.encoder.encode(["disk full"]).dense @ built.encoder.encode(["disk full"]).dense.T < 0.97


async def test_a_model_that_cannot_be_loaded_is_named(tmp_path: Path, small_model: Path) -> None:
    path = tmp_path / "model"
    shutil.copytree(small_model, path)
    (path / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(StartError, match=rf"model={path}: it cannot be loaded \(.*\)"):
        await prepare(str(path), tmp_path / "encoder", 2)
