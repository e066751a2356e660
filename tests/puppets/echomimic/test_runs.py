"""The whole comparison at a size of which nothing is learned: as a process, and what goes on from its models."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from actavatar_jax.diffusion import Sampling
from actavatar_jax.echomimic import TRAINED
from actavatar_jax.errors import InputError
from actavatar_jax.models import PRESETS
from actavatar_jax.puppets import dataset
from actavatar_jax.puppets import recipe as puppets
from actavatar_jax.puppets.echomimic import parts, runs, scores
from actavatar_jax.puppets.echomimic.costs import counted, read_costs
from actavatar_jax.puppets.echomimic.rows import Run
from actavatar_jax.puppets.echomimic.scores import talking_region
from actavatar_jax.puppets.world.clips import World, make_clip
from actavatar_jax.runs.small_world import make_model
from actavatar_jax.storage import read_json
from configs.echomimic_puppets import get_config
from data_pipelines.shards import open_dataset

ROOT = Path(__file__).resolve().parents[3]
QUICK = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "PYTHONPATH": str(ROOT)}  # much is compiled, little run
SMALL = "runlocal,seeds=1,rows="


PAGE = (ROOT / "docs" / "echomimic.md").read_text()
(COMMAND,) = (line.split()[2:] for line in PAGE.splitlines() if line.startswith("python launch/echomimic_puppets.py"))


def launch(*options):
    """What it says, when it has ended well."""
    command = [sys.executable, ROOT / "launch" / "echomimic_puppets.py", *options]
    result = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=600, env=QUICK)
    assert result.returncode == 0, result.stderr
    return result.stdout


def config_of(rows):
    return f"{ROOT}/configs/echomimic_puppets.py:{SMALL}{rows}"


@pytest.fixture(scope="module")
def puppets32(tmp_path_factory):
    """The workdir of a launch/puppets.py that has made its base, whose encoders have random weights here."""
    config, folder = get_config("runlocal").base, tmp_path_factory.mktemp("puppets")
    world = World(**config.world)
    clips = [make_clip(seed, world) for seed in dataset.TRAIN_SEEDS[:4]]
    texts = [dataset.prompt_of(clip, wording).render() for clip in clips for wording in dataset.WORDINGS]
    sizes = {"size": (world.side, world.side), "num_frames": world.frames}
    make_model(folder / "base", [clip.frames for clip in clips], texts, preset=PRESETS["tiny"], **sizes)
    puppets.save_defaults(folder / "base", world, Sampling(), [clips[0].frames[0]])
    return folder


@pytest.fixture(scope="module")
def workdir(puppets32, tmp_path_factory):
    """Of the program, that has come to its end."""
    folder = tmp_path_factory.mktemp("runs")
    said = launch("--config", config_of("supervised"), "--workdir", folder, "--base", puppets32)
    assert (folder / "table.md").read_text() in said
    return folder


@pytest.mark.slow
def test_the_program_leaves_scores_costs_and_a_table_and_makes_nothing_again(workdir):
    place = workdir / "supervised" / "seed-1"
    assert {path.name for path in place.iterdir()} >= {
        "model",
        "scores.json",
        "costs.json",
        "settings.json",
        "talks.png",
        "dub.png",
    }
    figures = read_json(place / "scores.json")["figures"]
    assert figures.keys() >= {"lip_at_zero", "off_hit", "dub_new", "dub_old"}
    assert all(figures[name]["value"] > 5 for name in ("psnr_whole", "dub_around", "last_given", "continued"))
    assert read_costs(place).keys() == {"training", "scores"} and min(read_costs(place).values()) > 0
    assert read_costs(workdir).keys() == {"base", "clips", "backbone"}
    table = (workdir / "table.md").read_text()
    assert table.count("| phase dropout, all tasks, windows |") == 4 and "one task" not in table
    told = launch(*COMMAND, "--config", config_of("supervised+one-task"), "--workdir", workdir, "--dry_run")
    assert told.splitlines() == ["supervised/seed-1  done", "one-task/seed-1"]


@pytest.mark.slow
def test_a_record_holds_the_tasks_of_its_clip(workdir, quick_compilation):
    config = get_config(SMALL + "supervised")
    encoders, world = parts.open_encoders(config, workdir / "base"), World(**config.world)
    record = open_dataset(workdir / "shards" / "bare" / "part-000").source[0]
    clip = make_clip(int(record["clip"].decode().removeprefix("puppet-")), world)
    assert [TRAINED[number] for number in record["tasks"]] == list(TRAINED)
    known = dict(zip(TRAINED, record["known"].astype(np.float32), strict=True))
    drawn = record["latents"].astype(np.float32)
    assert (known["first_frame"][0, ..., :4] == 1).all() and not known["first_frame"][1:, ..., :4].any()
    np.testing.assert_allclose(known["first_frame"][0, ..., 4:], drawn[0], atol=0.02)
    np.testing.assert_allclose(known["first_and_last"][0, ..., 4:], drawn[0], atol=0.02)
    assert known["first_and_last"][-1, ..., :4].any(axis=(0, 1)).tolist() == [False, False, False, True]
    begin = int(known["continuation"][..., 0].any(axis=(1, 2)).sum())
    np.testing.assert_allclose(known["continuation"][:begin, ..., 4:], drawn[:begin], atol=0.02)
    region = talking_region(clip)[..., None]
    first = np.where(region[0], np.uint8(128), clip.frames[0])
    np.testing.assert_allclose(known["mouth"][..., 4:], encoders.video(np.where(region, first, clip.frames)), atol=0.1)
    assert np.abs(known["mouth"][..., 4:] - drawn).max() > 0.5
    still = encoders.video(np.stack([clip.frames[0]] * world.frames))  # what is not known does not differ
    np.testing.assert_allclose(known["first_frame"][..., 4:], still, atol=0.02)


@pytest.mark.slow
def test_what_is_known_of_the_first_frame_comes_out_as_it_is(workdir, quick_compilation):
    config = get_config(SMALL + "supervised")
    encoders, world = parts.open_encoders(config, workdir / "base"), World(**config.world)
    pipeline = parts.open_pipeline(encoders, workdir / "supervised" / "seed-1" / "model")
    clip, other = make_clip(0, world), make_clip(1, world)
    assert np.array_equal(scores.talk(pipeline, clip, runs.sampling_of(config))[0], clip.frames[0])
    film, region = scores.dub(pipeline, clip, other, runs.sampling_of(config)), talking_region(clip)
    assert film.shape == clip.frames.shape and np.array_equal(film[0][~region[0]], clip.frames[0][~region[0]])
    assert not np.array_equal(film[0][region[0]], clip.frames[0][region[0]])


@pytest.mark.slow
def test_preferences_go_on_from_the_supervised_model_by_its_own_pairs(workdir, monkeypatch, quick_compilation):
    config, asked = get_config(SMALL + "preferred"), []

    def train(settings, folder):
        asked.append(settings)
        shutil.copytree(settings.model.folder, folder / "model")

    monkeypatch.setattr(runs.training, "run_training", train)
    runs.compare_rows(config, None, workdir)
    place = Run("preferred", 1).folder(workdir)
    (settings,) = asked
    assert settings.model.folder == str(workdir / "supervised" / "seed-1" / "model")
    assert settings.preference.folder == str(place / "pairs") and settings.data.dirs == (str(workdir / "shards/bare"),)
    halves = [open_dataset(next((place / "pairs" / half).iterdir())).source for half in ("preferred", "rejected")]
    assert len(halves[0]) == len(halves[1]) <= config.pairs.clips
    better, worse = (half[0] for half in halves)
    assert not np.array_equal(better["latents"], worse["latents"])
    np.testing.assert_array_equal(better["known"], worse["known"])
    scores = [read_json(path)["score"] for path in sorted((place / "pairs" / "candidates").glob("*.json"))]
    assert len(scores) == config.pairs.clips * config.pairs.seeds and len(set(scores)) > config.pairs.clips
    assert read_costs(place).keys() == {"pairs", "training", "scores"}
    assert "with preference steps | 5 |" in (workdir / "table.md").read_text()

    config.test_clips = 3
    (place / "scores.json").unlink()
    with pytest.raises(InputError, match="made with other settings of test_clips"):
        runs.compare_rows(config, None, workdir)


def test_wrong_input_is_refused_before_anything_is_made(puppets32, tmp_path):
    config = get_config(SMALL + "one-task")
    with pytest.raises(InputError, match="nowhere"):
        runs.compare_rows(config, tmp_path / "nowhere", tmp_path / "runs")
    with config.unlocked():
        config.base.world.side = 64
    with pytest.raises(InputError, match=r"was made for the world {'side': 32.*the config has {'side': 64"):
        runs.compare_rows(config, puppets32 / "base", tmp_path / "runs")
    with pytest.raises(InputError, match="There is no row lips"):
        runs.compare_rows(get_config(SMALL + "lips"), puppets32 / "base", tmp_path / "runs")
    assert not (tmp_path / "runs" / "base").exists()


def test_costs_add_up_also_where_work_ends_early(tmp_path):
    with counted(tmp_path, "training"):
        sum(range(10**6))
    first = read_costs(tmp_path)["training"]
    with pytest.raises(RuntimeError), counted(tmp_path, "training"):
        sum(range(10**6))
        raise RuntimeError
    assert read_costs(tmp_path)["training"] > first > 0
    assert read_costs(tmp_path / "elsewhere") == {}
