"""The recipe of the puppet world at its smallest: every step leaves what the next one needs, and can be repeated."""

import dataclasses
import os
import re
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from actavatar_jax import ActAvatarPipeline, Sampling, functional
from actavatar_jax.encoders import Encoders
from actavatar_jax.errors import InputError
from actavatar_jax.models import ADAPTER, PRESETS
from actavatar_jax.models.avatar import FLOAT32
from actavatar_jax.models.wan_vae.vae import VAEConfig, WanVAE
from actavatar_jax.puppets import dataset
from actavatar_jax.puppets import recipe as puppets
from actavatar_jax.puppets.progress import read_rows
from actavatar_jax.puppets.world.clips import World
from actavatar_jax.runs import settings, training
from actavatar_jax.runs.opening import open_network
from actavatar_jax.runs.small_world import make_model
from actavatar_jax.weights import folder as folders

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """(config, folder) after all three trainings of four steps each, and the decoder's."""
    config, folder = settings.read_config("configs/puppets.py:runlocal"), tmp_path_factory.mktemp("puppets")
    puppets.make_base(config, folder / "base")
    puppets.make_data(config, folder / "base", folder / "shards")
    model = folder / "base"
    for stage in puppets.STAGES:
        model = puppets.run_stage(stage, config, model, folder)
    puppets.run_decoder(config, model, folder)
    return config, folder


def weights(folder):
    return functional.flatten(folders.load(folder, "transformer", dtype="float32").params)


def changed(a, b) -> set[str]:
    return {name for name in a if not np.array_equal(a[name], b[name])}


def test_each_training_moves_what_it_is_for(world):
    _, folder = world
    base = weights(folder / "base")
    backbone, stage1, stage2 = (weights(folder / stage / "model") for stage in puppets.STAGES)
    is_adapter = re.compile(ADAPTER).fullmatch
    assert (moved := changed(base, backbone)) and not any(map(is_adapter, moved))
    assert (moved := changed(backbone, stage1)) and all(map(is_adapter, moved))
    assert "phase_embedding/embedding" in changed(stage1, stage2)
    assert any(map(is_adapter, changed(stage1, stage2)))


def test_encoders_stay_those_of_the_base(world):
    _, folder = world
    base, last = (Encoders.from_folder(folder / name).fingerprint() for name in ("base", "stage2/model"))
    assert base == last


def test_every_model_knows_its_world_and_how_to_sample(world):
    config, folder = world
    for name in ("base", "stage2/model", "model"):
        defaults = folders.load_defaults(folder / name)
        assert defaults.sampling == Sampling(steps=1, solver="mean", text_guidance=1.0, audio_guidance=1.0)
        assert World.from_dict(defaults.world) == World(**config.world)
        assert (defaults.sizes, defaults.lengths) == (((128, 128),), (25,))


def test_portraits_of_the_world_are_taken_and_others_are_not(world):
    config, folder = world
    pipeline = ActAvatarPipeline.from_pretrained(folder / "base")
    clip = next(dataset.draw(World(**config.world), range(1)))
    assert puppets.sample_clip(pipeline, clip).frames.shape == clip.frames.shape
    squares = 255 * np.random.default_rng(0).integers(0, 2, (8, 8, 3)).astype(np.uint8)
    with pytest.raises(InputError, match="not of the world"):
        pipeline(squares.repeat(16, axis=0).repeat(16, axis=1), clip.audio, clip.prompt)


def test_the_decoder_alone_is_new_in_the_whole_model(world):
    _, folder = world
    linear, whole = (folders.load(folder / name, "vae", dtype="float32") for name in ("stage2/model", "model"))
    assert linear.config.decoder is None and whole.config.decoder.widths == (4, 6)
    kept = functional.flatten({name: part for name, part in whole.params.items() if name != "decoder"})
    assert not changed(functional.flatten(linear.params), kept)
    assert not changed(weights(folder / "stage2" / "model"), weights(folder / "model"))


def test_training_goes_on_from_a_finished_model_without_its_decoder(world, tmp_path):
    config, folder = world
    puppets.take_base(config, folder / "model", tmp_path / "base")
    assert folders.load(tmp_path / "base", "vae").config.decoder is None
    assert not changed(weights(folder / "model"), weights(tmp_path / "base"))
    assert Encoders.from_folder(tmp_path / "base").fingerprint() == Encoders.from_folder(folder / "base").fingerprint()
    config = config.copy_and_resolve_references()
    with config.unlocked():
        config.world.idle = "random"
    with pytest.raises(InputError, match=r"made for the world .*'told'.*; the config has .*'random'"):
        puppets.take_base(config, folder / "model", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_config_with_a_larger_network_grows_that_of_the_model_it_starts_from(world, tmp_path):
    config, folder = world
    config = config.copy_and_resolve_references()
    config.network.update({"layers": 3, "ffn": 160, "heads": 3})
    puppets.take_base(config, folder / "model", tmp_path / "base")
    grown = folders.load(tmp_path / "base", "transformer").config
    assert (grown.layers, grown.ffn, grown.heads, grown.width) == (3, 160, 3, 96)


def test_the_decoder_goes_on_from_a_finished_one_of_the_same_form(world):
    _, folder = world
    trained = folders.load(folder / "model", "vae", dtype="float32")
    start = puppets.trained_decoder(folder / "model", trained.config.decoder)
    assert not changed(functional.flatten(start), functional.flatten(trained.params["decoder"]))
    assert puppets.trained_decoder(folder / "base", trained.config.decoder) is None
    assert puppets.trained_decoder(folder / "model", dataclasses.replace(trained.config.decoder, warps=1)) is None


def test_the_command_goes_on_from_a_model_and_ends_a_sitting(world, tmp_path):
    """From a finished folder to stage 2, of which the sitting sees only a part; then what is asked for is there."""
    _, folder = world
    shutil.copytree(folder / "shards", tmp_path / "shards")  # of the same encoders: not drawn again
    command = [sys.executable, "launch/puppets.py", "--config", "configs/puppets.py:runlocal", "--workdir", tmp_path]
    command += ["--start", folder / "model", "--until", "stage2", "--config.stage2.sample.every=0 steps"]
    quick = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # much is compiled, little run

    def run(*options):
        return subprocess.run([*command, *options], capture_output=True, text=True, timeout=300, env=quick)

    sitting = run("--config.stage2.steps=100000 steps", "--minutes", "0.5")
    assert sitting.returncode == 75, sitting.stderr
    assert not (tmp_path / "backbone").exists() and not (tmp_path / "stage2" / "model").exists()
    shutil.rmtree(tmp_path / "stage2")
    whole = run("--until", "decoder", "--config.decoder.training.learning_rate=1e-9")
    assert whole.returncode == 0, whole.stderr
    assert changed(weights(folder / "model"), weights(tmp_path / "stage2" / "model"))
    start, made = (folders.load(one / "model", "vae", dtype="float32").params["decoder"] for one in (folder, tmp_path))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), start, made)  # not from new numbers


def test_unseen_clips_are_watched_while_models_train(world):
    _, folder = world
    rows = read_rows(folder / "progress.jsonl")
    assert [(row["stage"], row["step"]) for row in rows] == [
        ("stage2", 2),
        ("stage2", 4),
        ("decoder", 2),
        ("decoder", 4),
    ]
    assert all(row["psnr_whole"] > 5 and row["hit"] is not None for row in rows)
    assert [row["cpu_hours"] for row in rows] == sorted(row["cpu_hours"] for row in rows)
    assert len(list((folder / "sheets").glob("*.png"))) == len(rows)


def test_a_finished_step_is_not_repeated(world):
    config, folder = world
    model = folder / "stage1" / "model"
    before = weights(model)
    puppets.run_stage("stage1", config, folder / "backbone" / "model", folder)
    assert not changed(before, weights(model))


def test_clips_drawn_on_the_fly_make_batches_of_the_same_form(world):
    config, folder = world
    forms = []
    for source in ("puppets", "shards"):
        stage = config.stage2.copy_and_resolve_references()
        with stage.unlocked():
            stage.model.folder, stage.data.source = str(folder / "base"), source
            stage.data.dirs = (str(folder / "shards" / "structured"),)
        network = open_network(stage)
        batches, _ = training.open_data(stage, network.config, sources=dataset.SOURCES)
        forms.append({name: (value.shape, value.dtype) for name, value in next(iter(batches)).items()})
    assert forms[0] == forms[1]


def test_a_trained_vae_takes_the_codecs_place(tmp_path):
    config = VAEConfig(encoder_base=4, decoder_base=4, z_dim=6, latents_mean=(0.0,) * 6, latents_std=(1.0,) * 6)
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), functional.abstract(WanVAE, config))
    vae = folders.Component(WanVAE, config, params)
    make_model(tmp_path, [], ["a person speaks"], preset=PRESETS["tiny"], vae=vae, size=(32, 32), num_frames=9)
    assert folders.load(tmp_path, "vae").config == config
    assert folders.load(tmp_path, "transformer").config.in_channels == 6


def test_clips_are_sampled_and_judged_from_their_pixels(world):
    config, folder = world
    pipeline = ActAvatarPipeline.from_pretrained(folder / "stage2" / "model")
    report = puppets.evaluate(pipeline, World(**config.world), range(config.test_clips))
    assert report.clips == config.test_clips
    assert {"hit", "iou", "lip", "drift", "psnr"} <= report.figures.keys()


def test_the_codec_is_a_ceiling_above_a_model_of_four_steps(world):
    config, folder = world
    items = World(**config.world), range(config.test_clips)
    codec = puppets.score_codec(Encoders.from_folder(folder / "base"), *items)
    pipeline = ActAvatarPipeline.from_pretrained(folder / "stage2" / "model")
    assert codec["psnr"].value > puppets.evaluate(pipeline, *items)["psnr"].value


def test_a_shipped_model_is_the_trained_one_in_bfloat16(world, tmp_path, monkeypatch):
    config, folder = world
    monkeypatch.setattr(puppets, "SHIPPED", tmp_path / "assets")
    puppets.ship(folder / "model")
    stored = folders.load(tmp_path / "assets", "transformer").params
    for name, leaf in functional.flatten(stored).items():
        assert str(leaf.dtype) == ("float32" if re.fullmatch(FLOAT32, name) else "bfloat16"), name
    clip = next(dataset.draw(World(**config.world), range(1)))
    pipeline = ActAvatarPipeline.from_pretrained(tmp_path / "assets")
    assert puppets.sample_clip(pipeline, clip).frames.shape == clip.frames.shape


def test_a_model_that_is_too_large_is_not_shipped(world, tmp_path, monkeypatch):
    monkeypatch.setattr(puppets, "SHIPPED", tmp_path / "assets")
    monkeypatch.setattr(puppets, "MOST_BYTES", 100_000)
    with pytest.raises(InputError, match="at most"):
        puppets.ship(world[1] / "base")
    assert not (tmp_path / "assets").exists()
