"""`launch/bench.py metrics` at tiny sizes: what is counted for a clip, and what for two whole sets."""

import importlib
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from actavatar_jax.evaluation.bench import sets
from actavatar_jax.evaluation.published import PUBLISHED
from actavatar_jax.puppets.bench import write_puppet_bench
from actavatar_jax.puppets.world.clips import World
from launch import bench
from tests.evaluation import small_networks

for package in ("jinja2", "torch", "espeakng_loader"):
    pytest.importorskip(package)

LAUNCH = Path(__file__).resolve().parents[1] / "launch"


@pytest.fixture
def costs(monkeypatch):
    monkeypatch.syspath_prepend(LAUNCH)  # as it is for the program itself
    return importlib.import_module("benchmarks.metrics")


@pytest.fixture(scope="module")
def puppets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("puppets")
    write_puppet_bench(folder, range(3), World(side=64, frames=17))
    return folder


def test_the_first_clip_is_not_counted_and_a_cost_is_the_others_mean(costs, monkeypatch):
    clock, seen = [0.0], []
    monkeypatch.setattr(costs.time, "process_time", lambda: clock[0])

    def measure(clip):
        clock[0] += clip
        seen.append(clip)

    assert costs._each(measure, [100.0, 2.0, 4.0]) == 3.0 and seen == [100.0, 2.0, 4.0]


def test_draws_are_reckoned_from_a_few(costs, monkeypatch):
    clock, asked = [0.0], []
    monkeypatch.setattr(costs.time, "process_time", lambda: clock[0])

    def interval(value, one, other, draws):
        asked.append((len(one), len(other), draws))
        clock[0] += 3.0 * draws

    monkeypatch.setattr(costs, "frechet_interval", interval)
    sets = costs._random_sets((4, 6), clips=5)
    assert sets[0][0].shape == (4, 6) and not np.array_equal(sets[0][0], sets[1][0])
    assert costs._frechet_seconds(sets) == 3.0 * costs.RESAMPLES and asked == [(5, 5, costs.DRAWS)]


@pytest.mark.usefixtures("quick_compilation")
def test_sets_have_features_of_two_videos_a_clip_and_figures_of_their_own(costs, puppets, tmp_path, monkeypatch):
    """FVD has two distances, each with its features; KID reads those of FID."""
    small_networks.use(monkeypatch, tmp_path)
    for name, parts in small_networks.PARTS.items():
        for written, agreed in zip(parts, PUBLISHED[name].files, strict=True):
            (tmp_path / written).rename(tmp_path / agreed)
    monkeypatch.setattr(sets, "FVD_FRAMES", (10, 16))
    monkeypatch.setattr(costs, "FEATURES", 8)
    monkeypatch.setattr(costs, "_each", lambda measure, clips: [measure(clip) for clip in clips] and 1.0)
    monkeypatch.setattr(costs, "_frechet_seconds", lambda sets: len(sets[0]) + sets[0][0].shape[1])
    features = 2048 // small_networks.NARROWING["inception"]
    assert costs.measure_metric("fid", puppets, tmp_path, 4) == (2.0, 4 + features)
    assert costs.measure_metric("fvd", puppets, tmp_path, 4) == (2 * 2.0, 2 * (4 + 400))
    clip, once = costs.measure_metric("kid", puppets, tmp_path, 4)
    assert clip == 0 and once > 0


@pytest.mark.slow
def test_the_table_of_a_metric(costs, tmp_path):
    options = ["--only", "psnr", "--clips", 100, "--side", 64, "--frames", 17]
    result = CliRunner().invoke(bench.app, ["metrics", str(tmp_path), *map(str, options)])
    assert result.exit_code == 0, result.output
    head, _, row = [[cell.strip() for cell in line.strip("|").split("|")] for line in result.stdout.splitlines()]
    assert head[3] == "hours for 100 clips" and row[0] == "psnr" and row[2] == "0"
    assert float(row[3]) == pytest.approx(100 * float(row[1]) / 3600, rel=0.02) and 0.05 < float(row[4]) < 4


@pytest.mark.slow
@pytest.mark.parametrize(("only", "words"), [("beauty", "The metric is 'beauty'"), ("fid", "FID is not available")])
def test_a_metric_that_cannot_be_measured_is_one_sentence(costs, tmp_path, only, words):
    options = ["--only", only, "--side", 64, "--frames", 17]
    result = CliRunner().invoke(bench.app, ["metrics", str(tmp_path), *map(str, options)])
    assert result.exit_code == 2 and result.stderr.startswith(f"error: {words}")
