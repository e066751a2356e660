import dataclasses
import fcntl
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.models import ADAPTER, PRESETS
from actavatar_jax.models.avatar import ActAvatarDiT
from actavatar_jax.runs import opening, training
from actavatar_jax.runs.exporting import export_model
from actavatar_jax.runs.settings import read_config
from actavatar_jax.runs.systems import actavatar
from actavatar_jax.training.runtime.workdir import leaves
from actavatar_jax.training.state import TrainState
from actavatar_jax.weights import folder as model_folder
from actavatar_jax.weights import read_adapter, write_adapter
from actavatar_jax.weights.adapter import read_about
from configs import stage1, stage2
from data_pipelines.loading import SyntheticSource
from data_pipelines.shards import Bucket
from tests.parallel.pairs import ends_of_two
from tests.runs import heldout_training
from tests.runs.shards import synthetic_source, write_shards

pytestmark = pytest.mark.usefixtures("quick_compilation")


def short(stage, **model):
    config = stage.get_config("runlocal")
    config.steps = "2"
    config.model.update(model)
    return config


@pytest.fixture(scope="module")
def base(tmp_path_factory, quick_compilation):
    """The model folder of a small backbone trained for two steps, with something beside the transformer."""
    workdir = tmp_path_factory.mktemp("base")
    training.run_training(short(stage2), workdir)
    (workdir / "model" / "vae").mkdir()
    (workdir / "model" / "vae" / "config.json").write_text("{}")
    assert {p.name for p in workdir.iterdir()} == {
        *("checkpoints", "goodput.json", "logs", "metrics.jsonl", "model", "run.lock", "tensorboard")
    }
    return workdir / "model"


@pytest.fixture(scope="module")
def first(base, tmp_path_factory):
    """(final state, adapter file) of stage 1 on that backbone."""
    workdir = tmp_path_factory.mktemp("first")
    state = training.run_training(short(stage1, folder=str(base), preset=""), workdir)
    assert not (workdir / "model").exists()
    return state, workdir / "adapter.safetensors"


def opened(config):
    """(network, all of its parameters by name)."""
    network = opening.open_network(config)
    every = functional.flatten(functional.abstract(network.module, network.config))
    return network, opening.open_params(config, network, every)


def weights(folder):
    return functional.flatten(model_folder.load(folder, "transformer").params)


@pytest.mark.slow
def test_an_adapter_and_its_base_make_a_whole_model_folder(base, first, tmp_path):
    state, adapter = first
    (base / ".git").mkdir(exist_ok=True)  # what lies beside the parts stays there
    export_model(base, tmp_path / "model", adapter)
    trained, saved, started = functional.flatten(state.weights), weights(tmp_path / "model"), weights(base)
    assert saved.keys() == trained.keys()
    for name, leaf in trained.items():
        np.testing.assert_array_equal(saved[name], leaf, err_msg=name)
        assert bool(functional.split({name: 0}, ADAPTER)[0]) or np.array_equal(leaf, started[name]), name
    assert {path.name for path in (tmp_path / "model").iterdir()} == {
        *("transformer", "vae", "scheduler", "model_index.json")
    }
    assert (tmp_path / "model" / "vae" / "config.json").read_text() == "{}"
    with pytest.raises(InputError, match="is there already"):
        export_model(base, tmp_path / "model", adapter)


@pytest.mark.slow
def test_an_adapter_says_what_it_was_trained_on(base, first, tmp_path, caplog):
    about = read_about(first[1])
    assert (about["base"], about["step"], about["layers"], about["width"]) == (str(base), 2, 2, 64)
    other = shutil.copytree(base, tmp_path / "other")
    part = model_folder.load(other, "transformer")
    model_folder.load(other, "transformer", adapter=first[1])
    assert "another backbone" not in caplog.text
    part.params["head"]["modulation"][...] += 1
    model_folder.save(other, "transformer", part.config, part.params)
    model_folder.load(other, "transformer", adapter=first[1])
    said = f"{first[1]} was trained on another backbone than that of {other}"
    assert said in caplog.text
    caplog.clear()
    config = short(stage2, folder=str(other), preset="")
    config.adapter = str(first[1])
    opened(config)  # a training says so too
    assert said in caplog.text


@pytest.mark.slow
def test_what_is_no_adapter_of_this_model_is_refused(first, tmp_path):
    wide = dataclasses.replace(PRESETS["tiny"].transformer, width=32, heads=1)
    with pytest.raises(InputError, match="does not fit the model: its width is 64 there and 32 here"):
        read_adapter(first[1], wide)
    for notes in ({}, {"actavatar": "no json"}, {"actavatar": "[]"}, {"actavatar": "{}"}):
        save_file({"a": np.zeros(2, np.float32)}, tmp_path / "lora.safetensors", {"format": "pt"} | notes)
        with pytest.raises(InputError, match=r"lora\.safetensors"):
            read_adapter(tmp_path / "lora.safetensors", wide)


@pytest.mark.slow
def test_stage_2_takes_a_fresh_backbone_and_the_adapter_of_stage_1(base, first):
    config = short(stage2, folder=str(base), preset="")
    config.adapter = str(first[1])
    network, params = opened(config)
    assert network.execution.dtype == "bfloat16"
    adapter, rest = functional.split(params, ADAPTER)
    for part, source in ((adapter, functional.flatten(first[0].weights)), (rest, weights(base))):
        for name, leaf in part.items():
            np.testing.assert_array_equal(leaf, source[name], err_msg=name)
    assert not np.array_equal(adapter["blocks/audio_attn/out/kernel"], weights(base)["blocks/audio_attn/out/kernel"])


@pytest.mark.slow
def test_a_backbone_that_learns_with_a_fresh_adapter_is_remarked_on(base, first, tmp_path, caplog, monkeypatch):
    def train(settings, network, open_params, *_, **__):
        open_params(every, dict.fromkeys(every, jax.sharding.SingleDeviceSharding(jax.devices()[0])))
        return TrainState(0, {}, {}, None)

    monkeypatch.setattr(training, "train", train)
    every = functional.flatten(functional.abstract(ActAvatarDiT, PRESETS["tiny"].transformer))
    fresh = shutil.copytree(base, tmp_path / "fresh")
    part = model_folder.load(fresh, "transformer")
    part.params["blocks"]["audio_attn"]["out"]["kernel"][...] = 0
    model_folder.save(fresh, "transformer", part.config, part.params)
    for stage, adapter, said in ((stage1, "", 0), (stage2, str(first[1]), 0), (stage2, "", 1)):
        config = short(stage, folder=str(fresh), preset="")
        config.adapter = adapter
        caplog.clear()
        training.run_training(config, tmp_path / "run")
        assert caplog.text.count("give that of stage 1 as config.adapter") == said


def test_a_help_can_be_switched_on_for_an_old_model_but_not_off(base):
    folder = str(base)
    network, params = opened(short(stage2, folder=folder, preset="", phase_time="paper+soft_relay"))
    assert network.config.phase_time == "paper+soft_relay"
    assert not params["blocks/window_strength"].any()
    with pytest.raises(InputError, match="frame_time/bias, frame_time/kernel"):
        opened(short(stage2, folder=folder, preset="", frame_time=False))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"preset": ""}, "one of the two"),
        ({"preset": "tiny", "folder": "x"}, "one of the two"),
        ({"preset": "huge"}, 'no preset "huge"; there are: wan22_ti2v_5b, tiny'),
    ],
)
def test_models_that_are_not_there_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        opened(short(stage2, **changes))


def test_a_work_folder_of_another_run_is_refused_before_the_model_is_opened(base, monkeypatch):
    workdir, read = base.parent, []
    monkeypatch.setattr(actavatar, "open_weights", lambda *asked: read.append(asked))
    config = short(stage2)
    config.optim.clip = 2.0
    with pytest.raises(InputError, match=r"other settings: optim.clip \(1.0 then, 2.0 now\)"):
        training.run_training(config, workdir)
    with (workdir / "run.lock").open("a+") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="in use by another run"):
            training.run_training(short(stage2), workdir)
    assert not read


def test_folders_of_shards_are_mixed_by_the_weights_of_the_settings(tmp_path):
    model = opening.open_network(stage2.get_config("runlocal")).config
    source = synthetic_source(model)
    folders = (str(tmp_path / "many"), str(tmp_path / "few"))
    for folder, records in zip(folders, (range(6), range(6, 8)), strict=True):
        write_shards(Path(folder), source, records)
    few = {source[i]["latents"].tobytes() for i in (6, 7)}

    def share_of_few(*settings):
        """Of 40 draws, by the settings of a command line."""
        settings = ("--config.data.source=shards", f"--config.data.dirs={folders}", *settings)
        config = read_config("configs/stage2.py:runlocal", settings)
        batches = iter(training.open_data(config, model)[0])
        drawn = np.concatenate([next(batches)["latents"] for _ in range(40 // config.data.batch_size)])
        return sum(latent.tobytes() in few for latent in drawn) / 40

    assert stage2.get_config().data.weights is None  # as in the settings of runs from before: they can go on
    assert share_of_few() == pytest.approx(1 / 4, abs=0.05)  # by records
    assert share_of_few("--config.data.weights=(1,4)") == pytest.approx(4 / 5, abs=0.05)
    for wrong in ("(1,)", "(1,2,3)", "()", "('a','b')"):
        with pytest.raises(InputError, match=r"give a positive number for each of the 2 folders of data.dirs"):
            share_of_few(f"--config.data.weights={wrong}")
    with pytest.raises(InputError, match="each must be a positive number"):
        share_of_few("--config.data.weights=(1,0)")


def test_a_run_goes_on_with_the_same_data_wherever_they_lie(tmp_path, monkeypatch):
    """What is described with a checkpoint names what shards hold; where they lie may change."""
    source = synthetic_source(opening.open_network(stage2.get_config("runlocal")).config)
    places = {"one": range(4), "other": range(4, 8), "elsewhere": range(4), "more": range(5)}
    for name, records in places.items():
        (tmp_path / name).mkdir()
        write_shards(tmp_path / name / "32x64x9", source, records)
    told = []

    def train(*_, described, may_change, **__):
        told.append((described, may_change))
        return TrainState(0, {}, {}, None)

    monkeypatch.setattr(training, "train", train)

    def described(*dirs, **changes):
        config = short(stage2)
        config.data.source, config.data.dirs = "shards", tuple(str(tmp_path / name) for name in dirs)
        config.update_from_flattened_dict(changes)
        training.run_training(config, tmp_path / "run")
        about, free = told[-1]
        prefixes = tuple(f"{name}." for name in free)
        return {key: value for key, value in leaves(about).items() if not f"{key}.".startswith(prefixes)}

    assert described("one") == described("elsewhere") != described("other")
    assert described("one") != described("more") and described("one", **{"optim.clip": 2.0}) != described("one")
    assert described("one", "other") == described("elsewhere", "other") != described("other", "one")
    held = described("one", **{"heldout.dirs": (str(tmp_path / "other"),)})
    assert held == described("one") and "contents of heldout.dirs" in told[-2][0]  # looked at, not learnt from
    config = short(stage2)
    training.run_training(config, tmp_path / "run")
    assert not [name for name in told[-1][0] if name.startswith("contents")]  # of made-up data there is nothing to tell


@pytest.fixture(scope="module")
def heldout(tmp_path_factory):
    """A folder of shards that fit the tiny model, of seven clips."""
    source = synthetic_source(opening.open_network(stage2.get_config("runlocal")).config)
    folder = tmp_path_factory.mktemp("heldout") / "shards"
    write_shards(folder, source, range(7))
    return folder


def heldout_records(workdir):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "heldout/loss" in line]


def test_clips_that_are_trained_on_cannot_be_held_out(heldout, tmp_path):
    config = short(stage2)
    config.data.source, config.data.dirs = "shards", (str(heldout.parent),)
    config.heldout.dirs = (str(heldout),)
    copy = shutil.copytree(heldout, tmp_path / "elsewhere" / heldout.name)
    for folder in (heldout, copy):
        config.heldout.dirs = (str(folder),)
        with pytest.raises(InputError, match=rf"{folder} is in data.dirs and in heldout.dirs; hold out clips that are"):
            training.run_training(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_heldout_loss_is_that_of_one_process_in_two_and_with_accumulation(heldout, tmp_path):
    config = stage2.get_config("runlocal")
    config.update_from_flattened_dict(heldout_training.settings(str(heldout)))
    training.run_training(config, tmp_path / "one")
    both = ends_of_two("tests.runs.heldout_training", tmp_path / "two", heldout, limit=300)
    assert [code for code, *_ in both] == [0, 0], both
    one, two = heldout_records(tmp_path / "one"), heldout_records(tmp_path / "two")
    assert [line["step"] for line in one] == [1, 2] and len(one[0]) == 1 + 2 * 5
    for ours, theirs in zip(one, two, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3)
    for workdir, lines in ((tmp_path / "one", one), (tmp_path / "two", two)):
        best = min(lines, key=lambda line: line["heldout/ema_loss"])
        assert json.loads((workdir / "best" / "best.json").read_text()) == {
            "figure": "heldout/ema_loss", "value": best["heldout/ema_loss"], "step": best["step"],
        }  # fmt: skip
        assert (workdir / "best" / "model" / "transformer" / "config.json").is_file()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"best": "heldout/loss"}, r"nothing tells; set heldout\.dirs and heldout\.every"),
        ({"best": "heldout/loss", "heldout.every": "1", "heldout.dirs": ()}, r"nothing tells; set heldout\.dirs"),
        ({"best": "sample/sync_c"}, r"nothing tells; set sample\.syncnet"),
        ({"best": "loss"}, "setting best is 'loss'; accepted is"),
        ({"best": "heldout/ema_loss", "heldout.every": "1"}, r"weights are not averaged; set optim\.ema_decay"),
    ],
)
def test_the_best_model_is_of_something_that_is_measured(heldout, tmp_path, changes, problem):
    config = short(stage2)
    config.heldout.dirs = (str(heldout),)
    config.update_from_flattened_dict({"heldout.every": "0", "optim.ema_decay": 0.0} | changes)
    with pytest.raises(InputError, match=problem):
        training.run_training(config, tmp_path / "run")


def test_shards_of_other_encoders_are_refused_before_the_model_is_opened(base, tmp_path, monkeypatch):
    source = SyntheticSource(Bucket(32, 64, 9), channels=4, text_dim=16, audio_layers=2, audio_dim=8)
    write_shards(tmp_path / "shards", source, range(4))
    config, read = short(stage2, folder=str(base), preset=""), []
    config.data.source, config.data.dirs = "shards", (str(tmp_path / "shards"),)
    monkeypatch.setattr(actavatar, "check_batch", lambda batch, model_config: None)
    monkeypatch.setattr(actavatar, "open_weights", lambda *asked: read.append(asked))
    monkeypatch.setattr(actavatar, "stored_fingerprint", lambda folder: {"vae": "ours"})
    training.check_encoders(config)
    monkeypatch.setattr(actavatar, "stored_fingerprint", lambda folder: {"vae": "other"})
    with pytest.raises(InputError, match="the vae that made them is ours, not other"):
        training.run_training(config, tmp_path / "run")
    assert not read


def test_sample_videos_without_encoders_are_refused_beforehand(base, tmp_path):
    (tmp_path / "jobs.jsonl").write_text('{"image": "a.png", "audio": "a.wav", "prompt": "Waves.", "out": "a.mp4"}')
    config = short(stage2, folder=str(base), preset="")
    config.sample.update({"every": "1", "jobs": str(tmp_path / "jobs.jsonl")})
    with pytest.raises(InputError, match="holds no text_encoder"):
        training.run_training(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_sampling_that_does_not_fit_is_refused_beforehand(base, tmp_path):
    (tmp_path / "jobs.jsonl").write_text('{"image": "a.png", "audio": "a.wav", "prompt": "Waves.", "out": "a.mp4"}')
    config = short(stage2, folder=str(base), preset="")
    config.sample.update({"every": "1", "jobs": str(tmp_path / "jobs.jsonl"), "solver": "mean"})
    with pytest.raises(InputError, match="mean makes 1 step, not 40"):
        training.run_training(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_an_adapter_that_was_never_trained_is_refused(tmp_path):
    network, params = opened(short(stage2))
    write_adapter(tmp_path / "adapter.safetensors", functional.unflatten(params), network.config)
    config = short(stage2)
    config.adapter = str(tmp_path / "adapter.safetensors")
    with pytest.raises(InputError, match="never been trained"):
        opened(config)
