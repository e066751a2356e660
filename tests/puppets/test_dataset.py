"""Drawn clips as training data: the same records on the fly and from shards, finished parts kept, exact places."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.models import PRESETS
from actavatar_jax.puppets import dataset, recipe
from actavatar_jax.puppets.world.clips import World, make_clip
from actavatar_jax.runs import settings, training
from data_pipelines.loading import make_loader
from data_pipelines.shards import BFLOAT16, RecordMaker, open_dataset
from tests.data.fakes import FakeEncoders, WordTokenizer

WORLD, SEEDS = World(side=32, frames=25), range(10_000, 10_006)
LOADING = {"batch_size": 2, "seed": 3, "text_drop": 0.2, "audio_drop": 0.2, "both_drop": 0.1}
SIZES = {"text_len": 64, "max_phases": 8}
TEXTS = ("structured", "global", "bare")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "PART", 4)
        dataset.write_shards(folder, FakeEncoders(), WORLD, SEEDS, TEXTS)
    return folder


@pytest.fixture(scope="module")
def source():
    with dataset.PuppetSource(FakeEncoders(), WORLD, SEEDS) as source:
        yield source


def records(folder):
    return [
        open_dataset(part).source[i] for part, n in zip(sorted(folder.iterdir()), (4, 2), strict=True) for i in range(n)
    ]


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(np.asarray(a[name]), np.asarray(b[name]), err_msg=name)


def test_shards_hold_what_is_drawn_on_the_fly(folder, source):
    stored = records(folder / "structured")
    assert len(stored) == len(source) == 6
    for i, record in enumerate(stored):
        drawn = source[i]
        assert_same(record | {"clip": drawn["clip"]}, drawn)


def test_wordings_share_pictures_but_only_structured_prompts_have_windows(folder):
    for structured, told in zip(records(folder / "structured"), records(folder / "global"), strict=True):
        np.testing.assert_array_equal(structured["latents"], told["latents"])
        np.testing.assert_array_equal(structured["audio_feats"], told["audio_feats"])
        assert len(structured["phase_windows"]) >= 1 and len(told["phase_windows"]) == 0
        assert structured["phase_ids"].max() == len(structured["phase_windows"]) and told["phase_ids"].max() == 0


def test_bare_texts_are_those_of_a_form_without_anchors(folder, source):
    assert [open_dataset(folder / name / "part-000").anchors for name in TEXTS] == [True, None, False]
    maker = RecordMaker(FakeEncoders(), anchors=False)
    for i, record in enumerate(records(folder / "bare")):
        prompt, anchored = make_clip(SEEDS[i], WORLD).prompt, source[i]
        assert_same(record | {"clip": ""}, anchored | maker.encode_text(prompt) | {"clip": ""})
        tokens = prompt.tokenise(WordTokenizer(), anchors=False)
        np.testing.assert_array_equal(record["text_tokens"], tokens.ids)
        assert len(tokens.ids) < len(anchored["text_tokens"])


def test_texts_differ_by_anchors_where_there_are_windows():
    assert [dataset.texts_of("structured", anchors) for anchors in (True, False)] == ["structured", "bare"]
    for wording in ("global", "brief"):
        assert dataset.texts_of(wording, True) == dataset.texts_of(wording, False) == wording
    encoders, prompt = FakeEncoders(), make_clip(SEEDS[0], WORLD).global_prompt
    for anchored, bare in zip(*(encoders.text([prompt], anchors=anchors) for anchors in (True, False)), strict=True):
        np.testing.assert_array_equal(anchored, bare)


def test_a_training_reads_the_texts_of_its_form_or_of_the_folder_that_it_starts_from():
    config = settings.training()
    found = []
    for wording, form in (("structured", None), ("structured", "paper+tie"), ("structured", "tie"), ("global", "tie")):
        config.data.wording, config.model.phase_time = wording, form
        found.append(recipe.texts_of(config, recipe.SHIPPED))  # which has paper+relay
    assert found == ["structured", "structured", "bare", "global"]


def test_a_training_that_draws_its_clips_draws_the_texts_of_its_form(monkeypatch):
    class OpenedError(Exception):
        pass

    def source(encoders, world, seeds, wording, anchors):
        raise OpenedError(wording, anchors)

    monkeypatch.setattr(dataset, "PuppetSource", source)
    monkeypatch.setattr(dataset.Encoders, "from_folder", lambda folder: "encoders")
    config = settings.training()
    config.data.update({"source": "puppets", "world": {"side": 32}})
    for form, anchors in (("paper+tie", True), ("tie", False)):
        model = dataclasses.replace(PRESETS["tiny"].transformer, phase_time=form)
        with pytest.raises(OpenedError) as opened:
            training.open_data(config, model, sources=dataset.SOURCES)
        assert opened.value.args == ("structured", anchors)


def test_a_record_is_of_its_own_seed(source):
    clip = make_clip(SEEDS[2], WORLD)
    windows = [(cue.start, cue.end) for cue in clip.cues]
    np.testing.assert_allclose(source[2]["phase_windows"], windows)
    np.testing.assert_array_equal(source[2]["latents"], FakeEncoders().video(clip.frames).astype(BFLOAT16))


def test_finished_parts_are_kept_and_a_missing_one_is_made_again(folder, monkeypatch):
    monkeypatch.setattr(dataset, "PART", 4)
    part = folder / "global" / "part-001"
    before = {p: p.read_bytes() for p in part.glob("*.array_record*")}
    first = folder / "global" / "part-000" / "dataset_info.json"
    stamp = first.stat().st_mtime_ns
    shutil.rmtree(part)
    dataset.write_shards(folder, FakeEncoders(), WORLD, SEEDS, ("structured", "global"))
    assert first.stat().st_mtime_ns == stamp
    assert {p: p.read_bytes() for p in part.glob("*.array_record*")} == before


@pytest.mark.parametrize(
    ("encoders", "world", "named"),
    [(FakeEncoders("other"), WORLD, "encoders"), (FakeEncoders(), World(side=64, frames=25), "world")],
)
def test_parts_of_other_encoders_or_worlds_are_refused(folder, monkeypatch, encoders, world, named):
    monkeypatch.setattr(dataset, "PART", 4)
    with pytest.raises(InputError, match=named):
        dataset.write_shards(folder, encoders, world, SEEDS, ("structured",))


def test_parts_from_before_anchors_were_written_down_are_kept(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "PART", 4)
    monkeypatch.setattr(dataset, "make_clip", None)
    for name in ("structured", "global"):
        for part in ("part-000", "part-001"):
            shutil.copytree(folder / name / part, tmp_path / name / part)
            place = tmp_path / name / part / "metadata.json"
            stored = json.loads(place.read_text())
            del stored["anchors"]
            place.write_text(json.dumps(stored))
    dataset.write_shards(tmp_path, FakeEncoders(), WORLD, SEEDS, ("structured", "global"))


def test_an_unknown_wording_is_refused(source):
    with pytest.raises(InputError, match="structured, global, brief"):
        dataset.PuppetSource(FakeEncoders(), WORLD, SEEDS, "sung")


def test_batches_on_the_fly_are_those_of_shards_and_their_place_is_exact(folder, source, monkeypatch):
    drawn = iter(dataset.make_puppet_loader(source, **LOADING, **SIZES))
    batch = next(drawn)
    stored = next(iter(make_loader(folder / "structured", **LOADING, **SIZES)))
    assert {k: (v.shape, v.dtype) for k, v in batch.items()} == {k: (v.shape, v.dtype) for k, v in stored.items()}
    place, following = drawn.get_state(), next(drawn)
    again = iter(dataset.make_puppet_loader(source, **LOADING, **SIZES))
    again.set_state(place)
    assert_same(next(again), following)


def test_a_process_draws_its_own_rows_of_every_batch(source):
    """What two processes draw together is what one draws alone, sample by sample."""
    sizes = LOADING | SIZES | {"batch_size": 3}
    whole = iter(dataset.make_puppet_loader(source, **sizes))
    parts = [iter(dataset.make_puppet_loader(source, **sizes, rows=rows)) for rows in ([0, 2], [1])]
    for _ in range(2):
        batch = next(whole)
        assert len(set(batch["index"].tolist())) == 3
        for part, rows in zip(parts, ([0, 2], [1]), strict=True):
            assert_same(next(part), {name: value[rows] for name, value in batch.items()})


def test_windows_for_an_autoencoder_are_cut_from_clips_of_training_seeds():
    windows = dataset.drawn_windows(WORLD, 9, per_clip=2, seed=0)
    first, second, other = (next(windows) for _ in range(3))
    clip = make_clip(dataset.TRAIN_SEEDS[0], WORLD).frames
    cuts = [clip[start : start + 9] for start in range(len(clip) - 8)]
    assert all(any(np.array_equal(window, cut) for cut in cuts) for window in (first, second))
    assert not any(np.array_equal(other, cut) for cut in cuts)
