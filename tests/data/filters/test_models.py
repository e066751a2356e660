"""Filters as steps: with models and without, over good and broken clips, in this process and in others."""

import json
import pickle
import shutil
import sys

import numpy as np
import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.onnx_files import load_model
from data_pipelines.filters import FILTERS, MODELS, NEEDED, filter_clips, make_steps
from data_pipelines.filters.text_area import INPUTS, OUTPUTS
from data_pipelines.table import Clip, StepReport, Table, import_extra, read_manifest, run_step
from tests.data import tiny_models
from tests.data.fakes import write_clip

pytest.importorskip("onnxruntime")
NEED_MODELS = ("text_area", "faces", "sync", "motion")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return tiny_models.all_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def clip_dir(tmp_path):
    write_clip(tmp_path / "clips" / "a.mp4", frames=50)
    write_clip(tmp_path / "clips" / "silent.mp4", frames=50, sound=False)
    (tmp_path / "clips" / "broken.mp4").write_bytes((tmp_path / "clips" / "a.mp4").read_bytes()[:900])
    return tmp_path


def table(*ids):
    return Table.from_clips(Clip(i, "corpus", f"{i}.mp4") for i in ids)


def test_the_models_made_here_are_all_that_the_filters_know(models):
    assert {path.name for path in models.iterdir()} == set(MODELS)


def test_without_models_nothing_fails_and_is_called_not_available(clip_dir):
    clips = table("a")
    for step in make_steps():
        clips = run_step(step, clips, clip_dir, workers=0, progress=False)
        assert clips.column(f"{step.name}.error") == [None], clips.column(f"{step.name}.detail")
    assert [name for name in FILTERS if clips.data.schema.get_field_index(f"{name}.available") >= 0] == [
        "quality",
        *NEED_MODELS,
    ]
    assert all(clips.column(f"{name}.available") == [False] for name in ("quality", *NEED_MODELS))
    assert clips.column("voice.method") == ["pitch"]


def test_every_clip_ends_with_columns_or_one_reason(clip_dir, models):
    clips = table("a", "silent", "broken", "missing")
    for step in make_steps(models=models):
        report = StepReport(step.name)
        clips = run_step(step, clips, clip_dir, workers=0, progress=False, report=report)
        assert sum(report.counts().values()) == 4
        errors = dict(zip(clips.column("id"), clips.column(f"{step.name}.error"), strict=True))
        assert errors["missing"] == "no clip"
        assert errors["broken"] == "unreadable"
        silent = {"duplicates": "unreadable", "voice": "unreadable", "sync": "unreadable"}
        if step.name != "sync":  # which may stumble over the missing face first
            assert errors["silent"] == silent.get(step.name)
            assert errors["a"] is None


def test_models_that_appear_make_clips_be_measured_again(clip_dir, models):
    (before,), (after,) = make_steps(["text_area"]), make_steps(["text_area"], models)
    clips = run_step(before, table("a"), clip_dir, workers=0, progress=False)
    clips = run_step(after, clips, clip_dir, workers=0, progress=False)
    assert clips.column("text_area.available") == [True]


def test_versions_are_made_of_constants_and_models(models, monkeypatch, tmp_path):
    """Of the filter's own modules and of those that it looks with; another threshold measures again."""
    before = {step.name: step.version for step in make_steps(models=models)}
    blind = {step.name: step.version for step in make_steps()}
    assert len({*before.values()}) == len(FILTERS) and all(len(version) == 16 for version in before.values())
    assert {name for name in FILTERS if before[name] != blind[name]} == {*NEEDED}
    for constant, affected in {
        "probe.SILENCE": ["probe"],
        "voice.QUIET": ["voice"],
        "duplicates.LOWEST": ["duplicates"],
        "copies.IMAGE_DIFFERS": [],  # which applies at selection
        "shots.THRESHOLD": ["shots"],
        "quality.BLACK": ["quality"],
        "dover.PATCH": ["quality"],
        "text_area.UNCLIP": ["text_area"],
        "faces.SCORE": ["faces", "sync"],
        "actavatar_jax.synchrony.tracks.OVERLAP": ["sync"],
        "gestures.SHOWN": ["motion"],
        "camera.SIDE": ["motion"],
        "actavatar_jax.keypoints.CONFIDENT": ["motion"],
    }.items():
        with monkeypatch.context() as patch:
            ours = constant.startswith("actavatar_jax")
            patch.setattr(constant if ours else f"data_pipelines.filters.{constant}", 7.5)
            after = {step.name: step.version for step in make_steps(models=models)}
        assert [name for name in FILTERS if after[name] != before[name]] == affected, constant
    other = shutil.copytree(models, tmp_path / "other")
    tiny_models.voice(other / "voice.onnx")
    (other / "text.onnx").write_bytes((models / "text.onnx").read_bytes() + b"\x72\x00")  # an empty domain at its end
    changed = {step.name: step.version for step in make_steps(["voice", "text_area"], other)}
    assert changed["voice"] == before["voice"] and changed["text_area"] != before["text_area"]


def test_steps_travel_to_workers(clip_dir, models):
    steps = make_steps(models=models)
    assert [pickle.loads(pickle.dumps(step)) for step in steps] == steps
    here = run_step(steps[5], table("a", "silent"), clip_dir, workers=0, progress=False)
    (clip_dir / "columns" / "text_area.parquet").unlink()
    there = run_step(steps[5], table("a", "silent"), clip_dir, workers=1, progress=False)
    assert steps[5].name == "text_area" and there.data.equals(here.data)


def test_all_filters_run_over_a_folder_and_their_reports_add_up(clip_dir, models):
    table("a", "broken").write(clip_dir / "manifest.parquet")
    options = {"workers": 0, "progress": False}
    reports = filter_clips(clip_dir, ["text_area", "probe"], **options)
    assert [report.title.split()[0] for report in reports] == ["probe", "text_area"]
    assert reports[0].counts() == {"made": 1, "skipped: unreadable": 1}
    assert "not available" in reports[1].title and "not available" not in reports[0].title
    assert read_manifest(clip_dir).column("probe.frames") == [50, None]
    again = filter_clips(clip_dir, ["probe", "text_area"], models, **options)
    assert again[0].counts() == {"kept": 1, "skipped: unreadable": 1} and again[1].counts()["made"] == 1
    assert json.loads((clip_dir / "filter-probe.report.json").read_text())["total"] == 2


def test_only_clips_of_a_stage_are_measured_once_they_are_selected(clip_dir, models):
    table("a", "silent").write(clip_dir / "manifest.parquet")
    options = {"stage": 1, "workers": 0, "progress": False}
    with pytest.raises(InputError, match="no clips have been selected for stage 1; run `select --stage 1`"):
        filter_clips(clip_dir, ["probe"], **options)
    table("a", "silent").with_columns({"stage1": [False, True]}).write(clip_dir / "manifest.parquet")
    (report,) = filter_clips(clip_dir, ["probe"], **options)
    assert report.counts() == {"not selected": 1, "made": 1}
    frames = read_manifest(clip_dir).column("probe.frames")
    assert frames[0] is None and frames[1] > 0


def test_steps_come_cheap_first_whatever_the_order_of_their_names():
    assert [step.name for step in make_steps(["voice", "probe"])] == ["probe", "voice"]


@pytest.mark.parametrize(
    "names, models, message",
    [(["blur"], None, "no filter 'blur'.*accepted are probe"), (None, "nowhere", "no such folder.*face.onnx")],
)
def test_wrong_names_are_one_sentence(names, models, message):
    with pytest.raises(InputError, match=message):
        make_steps(names, models)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_broken_model_or_another_one_is_refused_before_any_clip(name, models, tmp_path):
    for path in models.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    for other in (b"not a model", (models / ("voice.onnx" if name == "text.onnx" else "text.onnx")).read_bytes()):
        folder = tmp_path / str(len(other))
        folder.mkdir()
        for path in models.iterdir():
            (folder / path.name).write_bytes(other if path.name == name else path.read_bytes())
        with pytest.raises(InputError, match=name):
            make_steps(models=folder)


def test_a_model_of_the_same_kind_for_another_size_is_refused(models):
    for inputs, outputs in (
        (((None, 1, None, None),), OUTPUTS),
        (INPUTS, ((None, 2, None, None),)),
    ):
        with pytest.raises(InputError, match=r"text\.onnx: it (takes|gives) \[any, \d, any, any\]; accepted"):
            load_model(models / "text.onnx", inputs, outputs)


def test_a_missing_package_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "rtmlib", None)
    import_extra.cache_clear()
    with pytest.raises(InputError, match=r'rtmlib: pip install "actavatar-jax\[data\]"'):
        import_extra("rtmlib")


def test_columns_are_plain_values(clip_dir, models):
    for step in make_steps(["text_area", "faces", "motion", "quality"], models):
        row = step.measure(Clip("a", "corpus", "a.mp4"), clip_dir)
        assert not any(isinstance(value, np.generic | np.ndarray) for value in row.values() if value is not None), row
