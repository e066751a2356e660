"""Shards that a disk has damaged: every flipped bit is noticed, and said in one sentence."""

import random

import numpy as np
import pytest

from actavatar_jax.errors import InputError
from data_pipelines.loading import make_loader
from data_pipelines.shards import encode_clips, list_shards, open_dataset
from tests.data.fakes import FakeEncoders, make_clips


@pytest.fixture
def folder(tmp_path):
    clips = make_clips(tmp_path, {"a": (18, 32, 64), "b": (9, 32, 64)})
    encode_clips(clips, tmp_path / "shards", FakeEncoders(), frames=9, buckets="32x64", progress=False)
    return tmp_path / "shards" / "32x64x9"


def read(folder):
    loader = make_loader(
        folder, batch_size=1, seed=0, repeat=False, shuffle=False, text_len=64, text_drop=0.0, audio_drop=0.0
    )
    return [{name: np.asarray(value, np.float32) for name, value in batch.items()} for batch in loader]


def test_no_flipped_bit_goes_unnoticed(folder):
    wanted, (shard,) = read(folder), list_shards(folder)
    good, draws = shard.read_bytes(), random.Random(0)
    refused = 0
    for _ in range(40):
        content = bytearray(good)
        content[draws.choice([i for i, byte in enumerate(good) if byte])] ^= 1 << draws.randrange(8)
        shard.write_bytes(content)
        try:
            found = read(folder)
        except InputError as error:
            assert "is damaged" in str(error) and str(folder) in str(error) and len(str(error)) <= 400
            refused += 1
        else:
            assert all(np.array_equal(a[name], b[name]) for a, b in zip(found, wanted, strict=True) for name in a)
    assert refused > 30


@pytest.mark.parametrize("part", [0, 0.01, 0.5])
def test_half_a_shard(folder, part):
    (shard,) = list_shards(folder)
    shard.write_bytes(shard.read_bytes()[: int(shard.stat().st_size * part)])
    with pytest.raises(InputError, match="is damaged"):
        read(folder)


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json", "metadata.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff", b'{"a": NaN}'])
def test_what_describes_them(folder, name, content):
    (folder / name).write_bytes(content)
    with pytest.raises(InputError) as error:
        open_dataset(folder)
    assert str(folder) in str(error.value) and len(str(error.value)) <= 400


def test_an_encoding_that_has_to_write_it_again_names_the_damaged_file(folder, tmp_path):
    (shard,) = list_shards(folder)
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    (tmp_path / "videos" / "b.mp4").unlink()
    clips = make_clips(tmp_path, {"a": (18, 32, 64), "c": (9, 32, 64)})
    with pytest.raises(InputError, match=r"array_record-00000-of-00001 is damaged .*; remove it and encode again"):
        encode_clips(clips, tmp_path / "shards", FakeEncoders(), frames=9, buckets="32x64", progress=False)
