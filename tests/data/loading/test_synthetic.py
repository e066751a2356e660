"""Synthetic batches have the form of real ones."""

import numpy as np

from data_pipelines.loading import SyntheticSource, make_synthetic_loader
from data_pipelines.shards import Bucket
from tests.data.fakes import TEXT_DIM
from tests.data.loading.batches import loader, same, take


def test_synthetic_batches_have_the_form_of_real_ones(shard_dir):
    real = take(loader(shard_dir / "32x64x9"), 1)[0]
    source = SyntheticSource(Bucket(32, 64, 9), channels=3, text_dim=TEXT_DIM, audio_layers=2, audio_dim=3)
    made = take(make_synthetic_loader(source, batch_size=2, seed=0, text_len=16), 1)[0]
    assert {k: (v.shape, v.dtype) for k, v in made.items()} == {k: (v.shape, v.dtype) for k, v in real.items()}
    same(made, take(make_synthetic_loader(source, batch_size=2, seed=0, text_len=16), 1)[0])


def test_synthetic_rows_are_those_of_the_whole_batch():
    source = SyntheticSource(Bucket(32, 32, 9))
    whole, part = (
        next(iter(make_synthetic_loader(source, batch_size=4, seed=0, rows=rows))) for rows in (None, [1, 3])
    )
    for name in whole:
        np.testing.assert_array_equal(part[name], whole[name][[1, 3]])
