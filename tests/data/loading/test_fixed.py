"""The same batches every time, whole conditions, and each clip counted once."""

import numpy as np
import pytest

from actavatar_jax.errors import InputError
from data_pipelines.loading import SyntheticSource
from data_pipelines.loading.fixed import FixedBatches
from data_pipelines.shards import LATENT_LAYOUT, SCHEMA_VERSION, Bucket, serialize_record, write_dataset

SIZES = {"text_len": 32, "max_phases": 8}


def write(folder, bucket, records, encoders="ours"):
    source = SyntheticSource(bucket, channels=4, text_dim=16, audio_layers=2, audio_dim=8)
    made_by = {"schema": SCHEMA_VERSION, "layout": LATENT_LAYOUT, "fps": 25, "encoders": {"vae": encoders}}
    made_by |= {"empty_prompt": source.empty_prompt().to_dict(), "latent_shape": source[0]["latents"].shape}
    folder.mkdir(parents=True)
    write_dataset(folder, (serialize_record(source[i]) for i in range(records)), records, 4, made_by)
    return source


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """(folder with two buckets of 7 and 3 clips, their sources)"""
    folder = tmp_path_factory.mktemp("shards")
    buckets = {"a": (Bucket(32, 64, 9), 7), "b": (Bucket(64, 32, 9), 3)}
    return folder, [write(folder / name, *bucket) for name, bucket in buckets.items()]


def read(folder, clips, size, rows=None):
    return list(FixedBatches([folder], clips=clips, batch_size=size, rows=rows, **SIZES))


def test_every_clip_comes_once_with_its_whole_conditions(shards):
    folder, sources = shards
    batches = read(folder, clips=64, size=4)
    assert [batch["weight"].tolist() for batch in batches] == [[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 1, 0]]
    counted = [row for batch in batches for row in zip(*(batch[n] for n in ("index", "latents", "audio")), strict=True)]
    weights = np.concatenate([batch["weight"] for batch in batches])
    once = [row for row, weight in zip(counted, weights, strict=True) if weight]
    assert [int(index) for index, *_ in once] == list(range(10))
    records = [sources[0][i] for i in range(7)] + [sources[1][i] for i in range(3)]
    for (_, latents, audio), record in zip(once, records, strict=True):
        np.testing.assert_array_equal(latents, record["latents"])
        np.testing.assert_array_equal(audio, record["audio_feats"])
    texts = np.concatenate([batch["text"] for batch in batches])[weights > 0]
    assert all(
        np.array_equal(text[: len(r["text_embeds"])], r["text_embeds"]) for text, r in zip(texts, records, strict=True)
    )


def test_it_is_the_same_every_time(shards):
    batches = FixedBatches([shards[0]], clips=5, batch_size=2, **SIZES)
    for first, second in zip(batches, batches, strict=True):
        for name in first:
            np.testing.assert_array_equal(first[name], second[name])


def test_fewer_clips_are_spread_over_all(shards):
    folder, sources = shards
    batches = read(folder, clips=5, size=5)  # of ten: every second one
    assert [batch["index"].tolist() for batch in batches] == [[0, 1, 2, 3, 3], [4, 4, 4, 4, 4]]
    np.testing.assert_array_equal(batches[0]["latents"][1], sources[0][2]["latents"])
    np.testing.assert_array_equal(batches[1]["latents"][0], sources[1][1]["latents"])


def test_a_process_reads_its_rows_of_the_same_batches(shards):
    whole = read(shards[0], clips=64, size=4)
    for rows in ([0, 1], [2, 3]):
        for ours, batch in zip(read(shards[0], clips=64, size=4, rows=rows), whole, strict=True):
            for name in batch:
                np.testing.assert_array_equal(ours[name], batch[name][rows])


def test_shards_that_do_not_belong_together_are_refused(shards, tmp_path):
    write(tmp_path / "other", Bucket(32, 32, 9), 2, encoders="other")
    with pytest.raises(InputError, match="the vae that made them is"):
        FixedBatches([shards[0], tmp_path], clips=4, batch_size=2, **SIZES)
    with pytest.raises(InputError, match="their texts have anchors"):
        FixedBatches([shards[0]], clips=4, batch_size=2, anchors=False, **SIZES)
