"""Pairs of videos: record by record of the same conditions, or refused."""

import numpy as np
import pytest

from actavatar_jax.errors import InputError
from data_pipelines.loading import SyntheticSource, make_pair_loader
from data_pipelines.shards import LATENT_LAYOUT, SCHEMA_VERSION, Bucket, serialize_record, write_dataset

SOURCE = SyntheticSource(Bucket(64, 64, 9), channels=4, text_dim=6, audio_layers=2, audio_dim=3)


def write(folder, count, change=lambda number, record: record, encoders="a", **more):
    folder.mkdir(parents=True)
    metadata = {"schema": SCHEMA_VERSION, "layout": LATENT_LAYOUT, "fps": 25, "encoders": {"vae": encoders}}
    metadata |= {"empty_prompt": SOURCE.empty_prompt().to_dict(), "anchors": True, **more}
    records = (serialize_record(change(number, dict(SOURCE[number]))) for number in range(count))
    write_dataset(folder, records, count, 4, metadata)


def worse(number, record):
    return record | {"latents": -record["latents"]}


@pytest.fixture
def pairs(tmp_path):
    write(tmp_path / "preferred" / "64x64x9", 6)
    write(tmp_path / "rejected" / "64x64x9", 6, worse)
    return tmp_path


def loader(folder, **options):
    return make_pair_loader(folder, batch_size=4, seed=0, text_len=40, **options)


def test_a_batch_has_both_videos_and_whole_conditions(pairs):
    batches = iter(loader(pairs))
    first = next(batches)
    assert first["rejected"].shape == first["latents"].shape == (4, 3, 4, 4, 4)
    np.testing.assert_array_equal(first["rejected"].astype(np.float32), -first["latents"].astype(np.float32))
    state = batches.get_state()
    ahead = next(batches)
    assert ahead["audio"].any(axis=(1, 2, 3)).all() and (ahead["text"] != 0).any(axis=(1, 2)).all()
    batches.set_state(state)
    np.testing.assert_array_equal(next(batches)["rejected"], ahead["rejected"])
    part = next(iter(loader(pairs, rows=[1, 3])))
    np.testing.assert_array_equal(part["latents"], first["latents"][[1, 3]])


def test_pairs_may_tell_where_hands_and_faces_are(pairs, tmp_path_factory):
    with pytest.raises(InputError, match=r"do not say where hands and faces are, which preference\.region_weight asks"):
        loader(pairs, regions=True)
    folder, shape = tmp_path_factory.mktemp("marked"), SOURCE[0]["latents"].shape[:3]

    def marked(number, record):
        return record | {"regions": np.full(shape, number % 2, np.uint8)}

    write(folder / "preferred" / "64x64x9", 6, marked, regions=True)
    write(folder / "rejected" / "64x64x9", 6, lambda *one: worse(*one) | marked(*one), regions=True)
    batch = next(iter(loader(folder, regions=True)))
    assert batch["regions"].shape == batch["latents"].shape[:4] and batch["regions"].dtype == np.uint8
    assert {one.mean() for one in batch["regions"]} == {0.0, 1.0}


def other_text(number, record):
    return record | ({"text_tokens": record["text_tokens"] + 1} if number == 2 else {})


def other_window(number, record):
    return record | ({"start": 9} if number == 1 else {})


def other_size(number, record):
    return record | {"latents": record["latents"][:, :2]}


@pytest.mark.parametrize(
    ("count", "change", "problem"),
    [
        (5, worse, "has 6 clips, and .* 5; pairs are record by record"),
        (6, other_text, "Pair 2 of .* has another text_tokens in each half; pairs are of the same conditions"),
        (6, other_window, "Pair 1 of .* has another start in each half"),
        (6, other_size, "is of two sizes"),
    ],
)
def test_pairs_of_different_conditions_are_refused(tmp_path, count, change, problem):
    write(tmp_path / "preferred" / "64x64x9", 6)
    write(tmp_path / "rejected" / "64x64x9", count, change)
    with pytest.raises(InputError, match=problem):
        batches = iter(loader(tmp_path))
        for _ in range(4):
            next(batches)


def test_halves_that_do_not_belong_together_are_refused(pairs, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    write(other / "preferred" / "64x64x9", 2)
    write(other / "rejected" / "64x64x17", 2)
    with pytest.raises(InputError, match="the bucket 64x64x17 in one half only"):
        loader(other)
    third = tmp_path_factory.mktemp("third")
    write(third / "preferred" / "64x64x9", 2)
    write(third / "rejected" / "64x64x9", 2, encoders="b")
    with pytest.raises(InputError, match="the vae that made them is b, not a"):
        loader(third)
    with pytest.raises(InputError, match="no encoded clips here"):
        loader(tmp_path_factory.mktemp("empty"))
