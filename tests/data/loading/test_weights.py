"""Several corpora in one stream: shares of the draws, batches of one bucket, an exact place."""

import collections
import itertools
import json
import shutil

import pytest

from actavatar_jax.errors import InputError
from data_pipelines.shards import encode_clips, find_datasets, open_dataset
from tests.data.fakes import FakeEncoders, make_clips
from tests.data.loading.batches import by_index, loader, same, take


@pytest.fixture(scope="module")
def corpora(shard_dir, tmp_path_factory):
    """Two shard folders: `shard_dir`, and one of 3 records in the bucket 32x64."""
    root = tmp_path_factory.mktemp("second")
    clips = make_clips(root, {"d": (27, 64, 96)})
    encode_clips(clips, root / "shards", FakeEncoders(), frames=9, buckets="32x64,64x32", progress=False)
    return [shard_dir, root / "shards"]


def shares(dataset, batches):
    """Draws per clip's first letter and bucket; clips are told apart by their latents."""
    counts = collections.Counter()
    for batch in take(dataset, batches):
        counts.update((latent.shape[1:3], latent.tobytes()) for latent in batch["latents"])
    return counts


def belongs_to(folder):
    """Latents of the records in a shard folder."""
    found = [open_dataset(path) for path in find_datasets([folder])]
    return {dataset.source[i]["latents"].tobytes() for dataset in found for i in range(len(dataset.source))}


def test_weights_are_shares_of_the_draws(corpora):
    first, second = map(belongs_to, corpora)
    assert len(first) == 9 and len(second) == 3 and not first & second
    for weights in ((1, 1), (3, 1), (1, 4), (0.5, 0.25)):
        dataset = loader(corpora, weights=dict(zip(corpora, weights, strict=True)))
        counts = shares(dataset, 45)
        of_second = sum(count for (_, latent), count in counts.items() if latent in second)
        assert abs(of_second - 90 * weights[1] / sum(weights)) <= 2, weights
        narrow = sum(count for (size, _), count in counts.items() if size == (4, 2))
        assert abs(narrow - 90 * weights[0] / sum(weights) * 2 / 9) <= 4  # the first folder's buckets keep their shares
        wide = [count for (size, latent), count in counts.items() if size == (2, 4) and latent in first]
        assert max(wide) - min(wide) <= 1  # the records of a corpus go round


def test_a_batch_mixes_corpora_of_one_bucket(corpora):
    second = belongs_to(corpora[1])
    even = dict(zip(corpora, (1, 7 / 9), strict=True))  # 7 of the first folder's 9 records are in that bucket
    batches = take(loader(corpora, batch_size=4, weights=even), 16)
    assert {sum(latent.tobytes() in second for latent in batch["latents"]) for batch in batches} == {0, 2}


def test_without_weights_corpora_of_one_bucket_are_as_one(corpora):
    counts = shares(loader([folder / "32x64x9" for folder in corpora], batch_size=2), 15)
    assert len(counts) == 10 and set(counts.values()) == {3}


def test_a_weighted_stream_is_exact(corpora):
    """The same for another order of the folders, any processes and batch size, and after a restart."""
    weights = {str(corpora[0]): 2, str(corpora[1]): 1}
    whole = by_index(take(loader(corpora, batch_size=4, weights=weights), 9))
    again = by_index(take(loader(corpora[::-1], batch_size=4, weights=weights), 9))
    assert len(whole) == 36 and whole.keys() == again.keys()
    for index in whole:
        same(again[index], whole[index])
    rows = [take(loader(corpora, batch_size=4, weights=weights, rows=rows), 9) for rows in ([0, 2], [1, 3])]
    merged = by_index(itertools.chain(*rows))
    assert merged.keys() == whole.keys()
    for index in whole:
        same(merged[index], whole[index])

    iterator = iter(loader(corpora, weights=weights))
    for _ in range(5):
        next(iterator)
    restored = iter(loader(corpora, weights=weights))
    restored.set_state(json.loads(json.dumps(iterator.get_state())))
    for _ in range(5):
        same(next(restored), next(iterator))


def test_corpora_do_not_share_their_random_numbers(corpora):
    """Equal positions of two corpora: other dropout, though the records are the same."""
    copies = [corpora[0] / "32x64x9", corpora[0].parent / "copy"]
    if not copies[1].exists():
        shutil.copytree(*copies)
    weights = dict.fromkeys(copies, 1)
    order = [latent.tobytes() for batch in take(loader(copies, weights=weights), 28) for latent in batch["latents"]]
    assert order[::2] != order[1::2]


def test_wrong_weights_are_refused(corpora):
    first, second = corpora
    for weights, message in [
        ({first: 1}, "give one for each of"),
        ({first: 1, second: 1, first / "32x64x9": 1}, "give one for each of"),
        ({first: 1, second: 0}, "positive number"),
        ({first: 1, second: -1}, "positive number"),
        ({first: 1, second: float("nan")}, "positive number"),
        ({first: 1, second: float("inf")}, "positive number"),
    ]:
        with pytest.raises(InputError, match=message):
            loader(corpora, weights=weights)
    inside = [first, first / "32x64x9"]
    with pytest.raises(InputError, match="which weight it has is unclear"):
        loader(inside, weights=dict.fromkeys(inside, 1))
    with pytest.raises(InputError, match="endless stream"):
        loader(corpora, weights={first: 1, second: 1}, repeat=False)
