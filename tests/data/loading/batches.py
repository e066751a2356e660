"""Loaders of small batches, and what tests look at in them."""

import itertools

import numpy as np

from data_pipelines.loading import make_loader


def loader(folder, **settings):
    return make_loader(folder, **({"batch_size": 2, "seed": 5, "text_len": 16} | settings))


def take(dataset, count):
    return list(itertools.islice(iter(dataset), count))


def same(left, right):
    assert left.keys() == right.keys()
    for key in left:
        assert left[key].dtype == right[key].dtype
        np.testing.assert_array_equal(left[key], right[key], err_msg=key)


def by_index(batches):
    """{index: sample} of batches; fails if an index comes twice."""
    samples = {}
    for batch in batches:
        for row, index in enumerate(batch["index"].tolist()):
            assert index not in samples
            samples[index] = {key: value[row] for key, value in batch.items()}
    return samples
