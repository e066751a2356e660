"""The ablation: rows are what their names say, the rule decides as it was fixed, runs are made once."""

import json
import shutil
from concurrent.futures import Future, ProcessPoolExecutor

import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.scores import Judgement
from actavatar_jax.models import ADAPTER, PRESETS
from actavatar_jax.puppets import ablation, dataset
from actavatar_jax.puppets import recipe as puppets
from actavatar_jax.puppets.ablation import data, planning, runs
from actavatar_jax.puppets.ablation.planning import Run, stages_of, total_steps
from actavatar_jax.puppets.ablation.results import Scores, spread
from actavatar_jax.puppets.ablation.rows import GROUPS, ROWS
from actavatar_jax.puppets.world.clips import ACTIONS, World, make_clip
from actavatar_jax.runs.exporting import write_model
from actavatar_jax.runs.opening import open_network
from actavatar_jax.runs.small_world import make_model
from actavatar_jax.weights import draw_leaves
from actavatar_jax.weights import folder as folders
from configs.ablation import get_config
from configs.stage2 import get_config as stage2
from data_pipelines.shards import find_datasets, open_dataset, serialize_record
from tests.data.fakes import FakeEncoders

# ---- rows


def settings(name, seed=1):
    return {stage: config.to_dict() for stage, config in stages_of(get_config(), Run(name, seed)).items()}


def test_the_rows_of_table_4_add_one_thing_each():
    rows = {label: (name, settings(name)) for label, name in GROUPS["table4"].items()}
    (_, base), (_, paca), (_, progressive), (_, full) = rows.values()
    assert list(base) == list(paca) == list(progressive) == ["joint"] and list(full) == ["stage1", "stage2"]
    assert (base["joint"]["data"]["wording"], ROWS["global"].wording) == ("global", "global")
    assert (paca["joint"]["data"]["wording"], ROWS["paca"].wording) == ("structured", "structured")
    gammas = [row["joint"]["model"]["gamma"] for row in (base, paca, progressive)]
    assert gammas == [0.0, 0.0, 1.5] and full["stage2"]["model"]["gamma"] == 1.5
    assert {speed for _, speed in full["stage1"]["rules"]} == {1.0, None}
    paca["joint"]["model"]["gamma"] = 1.5
    assert paca == progressive


def test_every_trained_row_takes_the_same_steps_and_differs_from_every_other():
    config = get_config("steps=1000")
    trained = [name for name, row in ROWS.items() if not row.model_of]
    assert {total_steps(config, Run(name, 1)) for name in trained} == {1000}
    kinds = {json.dumps([settings(name), ROWS[name].wording, ROWS[name].frame_time]) for name in trained}
    assert len(kinds) == len(trained)
    assert settings("full", 2)["stage1"]["seed"] == 2


def test_the_bare_mechanism_lacks_each_help():
    bare, full = settings("bare")["stage2"], settings("text")["stage2"]
    assert {speed for _, speed in full["rules"]} == {1.0, 10.0} and bare["rules"] == ((".*", 1.0),)
    assert (full["time_law"]["noisy_share"], bare["time_law"]["noisy_share"]) == (0.5, 0.0)
    assert ROWS["text"].frame_time and not ROWS["bare"].frame_time
    helps = [settings(name) for name in GROUPS["helps"].values()]
    assert {stage["model"]["phase_time"] for row in helps for stage in row.values()} == {"paper"}
    assert settings("plain-rate")["stage2"]["time_law"] == full["time_law"]
    assert settings("plain-levels")["stage2"]["rules"] == full["rules"]
    assert settings("no-frame-time") == settings("text")


def test_forms_differ_in_the_form_alone():
    forms = {form: settings(name) for form, name in GROUPS["forms"].items()}
    told = {form: {stage["model"]["phase_time"] for stage in row.values()} for form, row in forms.items()}
    assert told == {form: {form.removesuffix(" (full)")} for form in GROUPS["forms"]}
    assert {"relay", "tie", "point", "original", "paper+tie"} < told.keys()
    for row in forms.values():
        for stage in row.values():
            stage["model"]["phase_time"] = "paper"
    assert all(row == forms["paper"] for row in forms.values())


def test_extrapolation_is_to_finer_windows_and_to_more_phases():
    for name in GROUPS["forms"].values():
        assert (ROWS[f"{name}-fine"].model_of, ROWS[f"{name}-fine"].grid) == (name, 0.1)
        few, own = settings(f"{name}-few"), settings(name)
        assert {stage["data"]["world"].pop("max_phases") for stage in few.values()} == {2}
        assert {stage["data"]["world"].pop("max_phases") for stage in own.values()} == {4} and few == own
        for cues in (3, 4):
            assert (ROWS[f"{name}-few-{cues}"].model_of, ROWS[f"{name}-few-{cues}"].cues) == (f"{name}-few", cues)
    assert get_config().world.grid == 0.5 and len(GROUPS["extrapolation"]) == 5 * len(GROUPS["forms"])
    names = [one.name for one in ablation.plan_runs(get_config("groups=extrapolation,seeds=1"))]
    assert len(names) == len(set(names)) == 5 * len(GROUPS["forms"])


def test_a_run_serves_all_groups_and_a_model_comes_before_what_scores_it(tmp_path):
    config = get_config("groups=phases+bias,seeds=2")
    planned = ablation.plan_runs(config)
    assert [one.name for one in planned[:7]] == ["full", *(f"phases-{k}" for k in (1, 2, 3, 4)), "text", "hard"]
    assert [one.seed for one in planned] == [1] * 7 + [2] * 7
    told = ablation.forecast(config, tmp_path, 3.0).splitlines()
    sampled = 64 * 24 / 16
    assert told[-1].split()[-2] == f"{(6 * 1200 + 14 * sampled) / 3 / 3600:.1f}"
    with pytest.raises(InputError, match="no group lips in the ablation; there are: table4"):
        ablation.plan_runs(get_config("groups=lips"))


def test_parts_share_the_runs_and_keep_scores_beside_their_model():
    runs = ablation.plan_runs(get_config("groups=phases+bias+gamma,seeds=3"))
    parts = [planning.part_of(runs, number, 4) for number in (1, 2, 3, 4)]
    assert sorted(str(one) for part in parts for one in part) == sorted(map(str, runs))
    for part in parts:
        assert {one.trained for one in part} <= set(part)
        assert abs(len({one.trained for one in part}) - 24 / 4) < 1
    with pytest.raises(InputError, match="no part 3 of 2"):
        planning.part_of(runs, 3, 2)


# ---- the rule and the table


def write_scores(config, workdir, name, gaps, centres):
    figures = ("hit", "accuracy", "iou", "lip", "hit_shuffled", "accuracy_shuffled", "iou_shuffled", "lip_shuffled")
    for seed, (gap, centre) in enumerate(zip(gaps, centres, strict=True), start=1):
        values = dict.fromkeys(figures, 0.5) | {"iou_gap": gap, "centre": centre, "centre_shuffled": 0.0}
        report = {"clips": 64, "figures": {name: {"value": value} for name, value in values.items()}}
        runs.write_json(Run(name, seed).folder(workdir) / "scores.json", report)
    return Scores.read(config, workdir, name)


def test_the_interval_is_that_of_students_t():
    one = spread([1.0, 2.0, 3.0])
    assert one.mean == 2.0
    np.testing.assert_allclose([one.low, one.high], 2 + np.array([-1, 1]) * 4.30265 / 3**0.5, rtol=1e-5)
    assert str(one) == "2.00 (-0.48 to 4.48)" and str(spread([0.5])) == "0.50" and str(spread([])) == "-"


@pytest.mark.parametrize(
    ("gaps", "centres", "verdict"),
    [
        ((0.30, 0.31, 0.32), (0.8, 0.8, 0.9), "learned"),
        ((0.08, 0.09, 0.08), (0.8, 0.8, 0.9), "not learned"),  # too small
        ((0.60, 0.01, 0.20), (0.8, 0.8, 0.9), "not learned"),  # not sure
        ((0.30, 0.31, 0.32), (0.9, -0.2, 0.3), "not learned"),
        ((0.30, 0.31, 0.32), (None, 0.8, 0.9), "not learned"),
        ((0.30,), (0.8,), "-"),
    ],
)
def test_the_rule(tmp_path, gaps, centres, verdict):
    assert write_scores(get_config(), tmp_path, "full", gaps, centres).verdict() == verdict


def test_the_table_of_an_unfinished_ablation(tmp_path):
    config = get_config("groups=table4+helps")
    assert "no run yet" in ablation.table(config, tmp_path)
    for name in ("full", "text"):
        write_scores(config, tmp_path, name, (0.30, 0.31, 0.32), (0.8, 0.8, 0.9))
    write_scores(config, tmp_path, "bare", (0.01, 0.02), (0.0, 0.1))
    text = ablation.table(config, tmp_path)
    assert "- without all three (bare mechanism): timing not learned; IoU gap 0.01 (-0.05 to 0.08), costs 0.29" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| + two stages (full)")]
    assert "0.50 (0.50 to 0.50) \\| 0.50" in row and row.endswith("| learned | 3 | 1200 | 64 |")
    rows = [line.replace("\\|", "") for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in rows}) == 1


# ---- runs


def test_clips_are_chosen_by_their_phases():
    world = World(side=16, frames=49)
    assert runs.clip_seeds(world, 3, None) == [0, 1, 2]
    for cues in (1, 3):
        seeds = runs.clip_seeds(world, 2, cues)
        assert [len(make_clip(seed, world).cues) for seed in seeds] == [cues] * 2
    with pytest.raises(InputError, match="only 0 have 4 phases; 2 are"):
        runs.clip_seeds(World(side=16, frames=25), 2, 4)


@pytest.mark.slow
def test_clips_are_told_anew_without_being_drawn(tmp_path, monkeypatch):
    world, encoders = World(side=16, frames=25), FakeEncoders()
    monkeypatch.setattr(dataset, "PART", 3)
    monkeypatch.setattr(dataset, "_pool", Here)
    seeds = dataset.TRAIN_SEEDS[:6]
    dataset.write_shards(tmp_path, encoders, world, seeds, dataset.TEXTS)

    def clips(folder):
        opened = [open_dataset(place) for place in find_datasets([folder])]
        return {
            record["clip"]: serialize_record(record)
            for one in opened
            for record in map(one.source.__getitem__, range(len(one.source)))
        }

    phases = {f"puppet-{seed}".encode(): len(make_clip(seed, world).cues) for seed in seeds}
    assert set(phases.values()) == {1, 2}
    for texts in dataset.TEXTS:
        for most in (4, 1):
            data.retell(tmp_path / "structured", tmp_path / f"{most}" / texts, encoders, world, texts, most)
            told = clips(tmp_path / f"{most}" / texts)
            assert told == {clip: record for clip, record in clips(tmp_path / texts).items() if phases[clip] <= most}
            described = open_dataset(tmp_path / f"{most}" / texts / "part-000")
            assert described.anchors is open_dataset(tmp_path / texts / "part-000").anchors
            assert described.metadata["most_phases"] == most
    assert data.has_texts(tmp_path, "global") and not data.has_texts(tmp_path / "nowhere", "global")
    (tmp_path / "global").rename(tmp_path / "elsewhere")
    shutil.copytree(tmp_path / "structured", tmp_path / "global")
    assert not data.has_texts(tmp_path, "global")  # they are described as others
    monkeypatch.setattr(data, "find_cues", None)
    data.retell(tmp_path / "structured", tmp_path / "1" / "bare", encoders, world, "bare", 1)  # all is there


def test_results_of_other_settings_are_refused(tmp_path):
    runs.keep_settings(tmp_path, {"test_clips": 64, "full": get_config().stage2})
    runs.keep_settings(tmp_path, {"test_clips": 64, "full": get_config().stage2})
    with pytest.raises(InputError, match="other settings of test_clips; give"):
        runs.keep_settings(tmp_path, {"test_clips": 32, "full": get_config().stage2})


def weights(folder):
    return functional.flatten(folders.load(folder, "transformer").params)


def write(config, folder):
    """The model folder that a run of this config would start from."""
    network = open_network(config)
    params = draw_leaves(network, functional.flatten(functional.abstract(network.module, network.config)))
    write_model(folder, "", network.config, functional.unflatten(params))


def test_gamma_is_a_setting_that_the_folder_keeps(tmp_path, quick_compilation):
    config = stage2("runlocal")
    assert open_network(config).config.audio.gamma == 1.5
    config.model.gamma = 0.0
    write(config, tmp_path / "model")
    config.model.update({"preset": "", "folder": str(tmp_path / "model"), "gamma": None})
    assert open_network(config).config.audio.gamma == 0.0


@pytest.mark.slow
def test_a_seed_draws_the_adapter_alone_and_frame_time_can_be_left_out(tmp_path, quick_compilation):
    write(stage2("runlocal"), tmp_path / "old")
    old = weights(tmp_path / "old")
    first, again, second = (
        weights(runs.copy_with_fresh_leaves(tmp_path / "old", tmp_path / name, ADAPTER, seed))
        for name, seed in (("1", 1), ("1 again", 1), ("2", 2))
    )
    drawn = {name for name in first if not np.array_equal(first[name], second[name])}
    assert drawn and drawn < functional.split(old, ADAPTER)[0].keys()
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert all(np.array_equal(first[name], old[name]) for name in functional.split(old, ADAPTER)[1])

    plain = runs.copy_with_fresh_leaves(tmp_path / "old", tmp_path / "plain", "frame_time/.*", frame_time=False)
    assert weights(plain).keys() == {name for name in old if not name.startswith("frame_time/")}
    assert not folders.load(plain, "transformer").config.frame_time


def fake_judge():
    """Sees nothing much, the same for the same pictures."""

    def judge(frames):
        rng, count = np.random.default_rng(int(frames.sum())), len(frames)
        shape = {"actions": (count, len(ACTIONS)), "hands": (count, 2, 2), "embeddings": (count, 4)}
        seen = {name: rng.random(size) for name, size in shape.items()}
        return Judgement(names=tuple(ACTIONS), opening=rng.random(count), width=rng.random(count), **seen)

    return judge


class Here(ProcessPoolExecutor):
    """Draws in this process: others take seconds to start."""

    def __init__(self):
        pass

    def submit(self, draw, *args):
        done = Future()
        done.set_result(draw(*args))
        return done

    def shutdown(self, *_, **__):
        pass


@pytest.fixture
def base(tmp_path, quick_compilation, monkeypatch):
    """(config, folder) of a small world with a backbone of four steps."""
    monkeypatch.setattr(dataset, "_pool", Here)
    config, folder = get_config("groups=helps,seeds=1,runlocal"), tmp_path / "base"
    world = World(**config.world)
    clips = list(dataset.draw(world, dataset.TRAIN_SEEDS[:8]))
    texts = [dataset.prompt_of(clip, wording).render() for clip in clips for wording in dataset.WORDINGS]
    frames, size = [clip.frames for clip in clips], (world.side, world.side)
    make_model(folder / "base", frames, texts, preset=PRESETS["tiny"], size=size, num_frames=world.frames)
    puppets.make_data(config, folder / "base", folder / "shards")
    puppets.train_stage(config.backbone, folder / "base", folder / "shards", folder / "backbone")
    return config, folder


@pytest.mark.slow
def test_rows_are_trained_scored_and_not_made_again(base, tmp_path, monkeypatch):
    config, base = base
    with pytest.raises(InputError, match="has no trained backbone; make it"):
        ablation.run_ablation(config, tmp_path, tmp_path / "runs")
    monkeypatch.setattr(puppets, "load_judge", fake_judge)
    monkeypatch.setitem(GROUPS, "some", {"one phase": "phases-1", "bare": "bare", "fine": "tie-fine"})
    read, train_stage = {}, puppets.train_stage

    def train(settings, start, shards, workdir):
        read["/".join(workdir.parts[-3:])] = shards / puppets.texts_of(settings, start)
        return train_stage(settings, start, shards, workdir)

    monkeypatch.setattr(puppets, "train_stage", train)
    config.groups = ("some",)
    ablation.run_ablation(config, base, tmp_path / "runs")
    made = {p.relative_to(tmp_path / "runs").parts[0] for p in (tmp_path / "runs").rglob("scores.json")}
    assert made == {"full", "phases-1", "bare", "tie", "tie-fine"}
    assert read["full/seed-1/stage1"] == read["tie/seed-1/stage1"] == base / "shards" / "global"
    assert read["full/seed-1/stage2"] == base / "shards" / "structured"
    assert read["tie/seed-1/stage2"] == tmp_path / "runs" / "clips-4-phases" / "bare"
    few = stages_of(config, Run("tie-few", 1))["stage2"]
    assert data.shards_for(config, few, base / "base", base, tmp_path / "runs").name == "clips-2-phases"
    assert (tmp_path / "runs" / "clips-2-phases" / "bare" / "part-000").is_dir()
    bare = tmp_path / "runs" / "bare" / "seed-1"
    assert {p.name for p in bare.iterdir()} == {"settings.json", "stage1", "stage2", "scores.json"}
    assert not folders.load(bare / "stage2" / "model", "transformer").config.frame_time
    text = (tmp_path / "runs" / "table.md").read_text()
    assert "| one phase | " in text and "| 1 | 6 | 3 |" in text

    monkeypatch.setattr(puppets, "train_stage", None)
    ablation.run_ablation(config, base, tmp_path / "runs")  # needs neither training
    config.backbone.steps = "5 steps"
    with pytest.raises(InputError, match=r"trained for 4 steps .* give --config.backbone.steps=4"):
        ablation.run_ablation(config, base, tmp_path / "runs")
    config.world = config.world.copy_and_resolve_references()
    config.world.side = 64
    with pytest.raises(InputError, match=r"side=32.*side=64"):
        ablation.run_ablation(config, base, tmp_path / "runs")
