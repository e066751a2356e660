"""The judge of puppets among the metrics of a bench: it notices what is done to films on purpose."""

import dataclasses

import numpy as np
import pytest

from actavatar_jax.errors import Skip
from actavatar_jax.evaluation.bench import BenchPhase, check_controls, evaluate_videos, read_bench
from actavatar_jax.evaluation.bench.clips import BenchClip
from actavatar_jax.media import write_video
from actavatar_jax.puppets.bench import write_puppet_bench
from actavatar_jax.puppets.judge import load_judge
from actavatar_jax.puppets.judge.metrics import loudness, puppet_metrics
from actavatar_jax.puppets.world.clips import World

pytest.importorskip("jinja2")
pytest.importorskip("espeakng_loader")


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("puppets")
    write_puppet_bench(folder, range(4), World(side=64, frames=77))
    return folder


@pytest.fixture(scope="module")
def metrics():
    return puppet_metrics(load_judge())


def clip(bench, number=0, **changes):
    item = dataclasses.replace(read_bench(bench / "bench.jsonl")[number], **changes)
    return BenchClip(item, bench / "real" / f"{item.id}.mp4", "digest", 77, ())


def test_controls_of_drawn_films_come_out_as_they_should(bench, metrics, tmp_path):
    options = {"metrics": "sync,judge", "stand_ins": metrics, "progress": False}
    report = check_controls(bench / "real", bench / "bench.jsonl", tmp_path, **options)
    held = {(outcome.control, outcome.column): outcome.held for outcome in report.outcomes}
    assert {key for key, value in held.items() if value is None} == {
        ("swapped", "judge_aq"), ("swapped", "judge_hc"), ("other sound", "sync_d"),
    }  # fmt: skip
    assert all(value in (True, None) for value in held.values()), report.table()


def test_drawn_films_have_good_scores(bench, metrics, tmp_path):
    options = {"metrics": "sync,judge", "stand_ins": metrics, "progress": False}
    report = evaluate_videos(bench / "real", bench / "bench.jsonl", tmp_path, **options)
    means = {name: figure.value for metric in report.metrics for name, figure in metric.scores.figures.items()}
    assert means["judge_hit"] > 0.9 and means["judge_aa"] > 9 and means["judge_tc"] > 9 and means["judge_iou"] > 0.8
    assert means["judge_boundary"] < 0.3 and means["judge_satisfied"] > 0.8
    for item in report.items:
        assert abs(report.row(item.id)["sync_offset"]) <= 1 and report.row(item.id)["sync_c"] > 0.4
    assert "judge of puppets" in report.metrics[0].scores.about["backbone"]


def test_another_action_is_not_what_was_asked_for(bench, metrics):
    _, judge = metrics
    asked = clip(bench).item.phases[0]
    other = "Nods the head." if "nod" not in asked.action.lower() else "Waves with the left hand."
    row = judge.measure(clip(bench, phases=(BenchPhase(asked.start, asked.end, other),)))
    assert row["judge_hit"] == row["judge_aa"] == row["judge_tc"] == 0 and row["judge_boundary"] is None


def test_what_cannot_be_judged_has_a_reason(bench, metrics, tmp_path):
    lips, judge = metrics
    with pytest.raises(Skip) as told:
        judge.measure(clip(bench, phases=()))
    assert told.value.reason == "no phases"
    for name, samples in (("none", None), ("zeros", np.zeros(77 * 640, np.float32))):
        write_video(tmp_path / f"{name}.mp4", np.zeros((77, 64, 64, 3), np.uint8), samples)
        with pytest.raises(Skip) as told:
            lips.measure(dataclasses.replace(clip(bench), path=tmp_path / f"{name}.mp4"))
        assert told.value.reason == "no sound"


def test_loudness_is_the_root_of_the_mean_square_of_each_frame():
    np.testing.assert_allclose(loudness(np.repeat([0.0, 0.5, -1.0], 640)), [0, 0.5, 1])
