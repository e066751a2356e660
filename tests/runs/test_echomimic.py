"""Training EchoMimicV3 from its config: the run, its data, its weights there and back, and what is refused."""

import json

import jax
import numpy as np
import pytest
from PIL import Image

from actavatar_jax import functional
from actavatar_jax.echomimic import PRESETS, EchoMimicDiT, hears, open_transformer, read_config, write_transformer
from actavatar_jax.echomimic.config import AUDIO
from actavatar_jax.errors import InputError
from actavatar_jax.functional import random_key
from actavatar_jax.media import load_video
from actavatar_jax.runs import training
from actavatar_jax.runs.resolve import check_names, in_steps, objective_of, training_settings
from actavatar_jax.runs.sections import check_values
from actavatar_jax.runs.systems import echomimic as system
from actavatar_jax.runs.workload import workload_of
from configs import echomimic, stage1
from tests.echomimic.tiny import picture, pipeline
from tests.media.sounds import encode, tones

pytestmark = pytest.mark.usefixtures("quick_compilation")

TINY = PRESETS["tiny"]


def short(arg="runlocal", **changes):
    config = echomimic.get_config(arg)
    config.precision, config.steps = "float32", "2 steps"
    config.checkpoint_every, config.log_every = "2 steps", "1 steps"
    for name, value in changes.items():
        section, _, leaf = name.rpartition("__")
        (config[section] if section else config)[leaf] = value
    return config


@pytest.fixture(scope="module")
def trained(tmp_path_factory, quick_compilation):
    """A run of two steps: (its folder, its final state)."""
    workdir = tmp_path_factory.mktemp("run")
    return workdir, training.run_training(short(), workdir)


def test_a_run_leaves_a_transformer_that_is_read_again(trained):
    workdir, state = trained
    folder = workdir / "model"
    assert read_config(folder, "preview") == TINY and hears(folder, TINY)
    read = functional.flatten(open_transformer(folder, None, TINY).read())
    for name, leaf in functional.flatten(state.weights).items():
        np.testing.assert_array_equal(read[name], leaf, err_msg=name)
    losses = [json.loads(line)["loss"] for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert len(losses) == 2 and np.isfinite(losses).all()
    with pytest.raises(InputError, match="holds a transformer of preview, not of flash"):
        read_config(folder, "flash")


def test_everything_learns_but_what_hears_only_when_values_have_moved(trained):
    _, state = trained
    start = functional.flatten(functional.init(EchoMimicDiT, TINY, random_key(0)))
    still = {
        name
        for name, leaf in functional.flatten(state.weights).items()
        if np.array_equal(leaf, jax.device_get(start[name]))
    }
    # Keys that start at zero get gradients once values have moved, and in two steps they may or may not.
    heard = {"audio_projection/linear/kernel", "audio_projection/norm/scale", "audio_projection/norm/bias"}
    assert still <= heard | {"blocks/audio_attn/key/kernel", "blocks/audio_attn/norm_key/scale"}


def test_wan_fun_alone_hears_nothing_yet_and_goes_on_from_there(trained, tmp_path):
    """A folder without parameters for speech, as Wan2.1-Fun's: those are drawn, all others are its own."""
    workdir, state = trained
    weights = jax.device_get(state.weights)
    write_transformer(tmp_path / "fun", TINY, weights)
    from safetensors.numpy import load_file, save_file

    file = next((tmp_path / "fun").glob("*.safetensors"))
    kept = {name: tensor for name, tensor in load_file(file).items() if "audio" not in name}
    assert len(kept) < len(load_file(file))
    save_file(kept, file, {"format": "pt"})
    config = short(model__folder=str(tmp_path / "fun"), model__preset="")
    network = system.open_network(config)
    assert network.config == TINY and not hears(tmp_path / "fun", TINY)
    shapes = functional.flatten(functional.abstract(EchoMimicDiT, TINY))
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    settings = training_settings(in_steps(config, 100))
    leaves = system.open_weights(config, network, settings, shapes, dict.fromkeys(shapes, place))
    speech, rest = functional.split(leaves, AUDIO)
    assert not np.asarray(speech["blocks/audio_attn/value/kernel"]).any()
    for name, leaf in rest.items():
        np.testing.assert_array_equal(leaf, functional.flatten(weights)[name], err_msg=name)
    own = short(model__folder=str(workdir / "model"), model__preset="", echomimic__base=str(tmp_path / "fun"))
    leaves = system.open_weights(own, network, settings, shapes, dict.fromkeys(shapes, place))
    for name, leaf in leaves.items():
        np.testing.assert_array_equal(leaf, functional.flatten(weights)[name], err_msg=name)


def test_the_config_becomes_the_objective():
    one = objective_of(short())
    assert (one.dropout.late, one.dropout.early, one.windows) == (1 / 3, 2 / 3, True)
    other = objective_of(short(echomimic__phase_dropout=False, echomimic__windows=False, time_law__shift=3.0))
    assert other.dropout is None and not other.windows and other.time_law.shift == 3.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model__gamma": 1.0}, "setting model.gamma has no meaning for EchoMimicV3"),
        ({"adapter": "x.safetensors"}, "setting adapter has no meaning"),
        ({"model__preset": "wan22_ti2v_5b"}, 'no preset "wan22_ti2v_5b" of EchoMimicV3; there are: preview, flash'),
        ({"model__folder": "x"}, "one of the two"),
        ({"echomimic__late": 0.9}, r"setting echomimic\.late is 0\.9.*late below early"),
        ({"echomimic__variant": "fast"}, "setting echomimic.variant is .*preview or flash"),
        ({"sample__every": "1", "sample__jobs": ""}, "need sample.jobs and, for the encoders, echomimic.base"),
        ({"data__source": "shards"}, "give shards and folders"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_read(changes, message, tmp_path):
    with pytest.raises(InputError, match=message):
        training.run_training(short(**changes), tmp_path)


def test_shares_of_tasks_are_numbers_of_which_one_is_above_zero():
    config = short()
    for name in config.echomimic.tasks:
        config.echomimic.tasks[name] = 0.0
    with pytest.raises(InputError, match=r"echomimic\.tasks are all 0"):
        check_values(config)
    config.system = "wan"
    with pytest.raises(InputError, match=r"setting system is .*actavatar or echomimic"):
        check_names(config)
    mixed = stage1.get_config("runlocal")
    mixed.system = "echomimic"
    with pytest.raises(InputError, match=r"the setting echomimic\.\w+ is missing"):
        check_names(mixed)


@pytest.mark.slow
def test_sample_videos_are_made_of_the_jobs(tmp_path, monkeypatch):
    """With the encoders of the public files, whose reading is tested elsewhere."""
    pipe, asked = pipeline("preview"), []

    def from_files(*arguments):
        asked.append(arguments)
        return pipe.encoders

    monkeypatch.setattr(system.EchoMimicEncoders, "from_files", from_files)
    Image.fromarray(picture(0)).save(tmp_path / "face.png")
    encode(tmp_path / "speech.wav", tones(16000, 0.36, 300), 16000)
    job = {"image": str(tmp_path / "face.png"), "audio": str(tmp_path / "speech.wav"), "prompt": "A person talks."}
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text(json.dumps(job | {"out": "elsewhere/talk.mp4", "text_guidance": 1.0}) + "\n")
    config = short(sample__every="1", sample__jobs=str(jobs), echomimic__base="fun", echomimic__audio_encoder="speech")
    config.sample.steps = 2
    sample = system.make_sampler(config, pipe.transformer.network, tmp_path / "run")
    assert not asked  # until the first visit
    sample(pipe.transformer.params, 7)
    assert asked == [("fun", "speech", "preview", "float32")]
    assert len(load_video(tmp_path / "run" / "samples" / "0000007" / "talk.mp4").frames) == 9
    jobs.write_text(json.dumps({name: job[name] for name in ("image", "prompt")}) + "\n")
    with pytest.raises(InputError, match=r"Line 1 of .* lacks audio and out"):
        system.make_sampler(config, pipe.transformer.network, tmp_path / "run")


@pytest.mark.parametrize("variant", ["preview", "flash"])
def test_a_plan_knows_the_batches_of_a_run(variant):
    """Shapes and dtypes of the planned batch are those of the loader's."""
    config = short(f"runlocal,variant={variant}")
    work = workload_of(config)
    assert work.grid == (3, 4, 8)
    batches, _ = training.open_data(config, work.network.config)
    planned, loaded = work.batch(), next(iter(batches))
    assert planned.keys() == loaded.keys()
    for name, shape in planned.items():
        assert shape.shape == loaded[name].shape and (shape.dtype == loaded[name].dtype or name == "index"), name


def test_full_size_is_planned_at_the_published_sizes():
    work = workload_of(echomimic.get_config())
    assert functional.count(functional.abstract(EchoMimicDiT, work.network.config)) == 1_707_215_168
    assert work.grid == (29, 96, 96) and work.batch()["known"].shape == (64, 29, 96, 96, 20)
