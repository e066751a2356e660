"""Loading: one stream fixed by its seed, exact resume, condition dropout, refusals."""

import collections
import itertools
import json
import platform
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.prompt import StructuredPrompt
from data_pipelines.loading import SyntheticSource, make_loader, make_synthetic_loader
from data_pipelines.shards import Bucket, encode_clips, find_datasets, open_dataset
from tests.data.fakes import TEXT_DIM, FakeEncoders, make_clips


@pytest.fixture(scope="module")
def shard_dir(tmp_path_factory):
    """Two buckets, of 7 and 2 records."""
    root = tmp_path_factory.mktemp("loader")
    (root / "videos").mkdir()
    phases = [{"start": 0, "end": 0.36, "action": "Waves."}, {"start": 0.36, "end": 1.2, "action": "Bows."}]
    (root / "videos" / "a.json").write_text(json.dumps({"base": "A man.", "phases": phases}))
    clips = make_clips(root, {"a": (31, 64, 96), "b": (20, 96, 64), "c": (38, 64, 96)})
    settings = {"frames": 9, "buckets": "32x64,64x32", "records_per_shard": 2, "progress": False}
    encode_clips(clips, root / "shards", FakeEncoders(), **settings)
    return root / "shards"


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


def test_batch_has_the_shapes_and_types_training_expects(shard_dir):
    batch = take(loader(shard_dir / "32x64x9", shuffle=False, text_drop=0.0, audio_drop=0.0, both_drop=0.0), 1)[0]
    form = {key: (value.shape, value.dtype.name) for key, value in batch.items()}
    assert form == {
        "latents": ((2, 3, 2, 4, 3), "bfloat16"),
        "text": ((2, 16, TEXT_DIM), "bfloat16"),
        "phase_ids": ((2, 16), "int32"),
        "phase_windows": ((2, 8, 2), "float32"),
        "audio": ((2, 9, 2, 3), "float16"),
        "index": ((2,), "int64"),
    }
    tokens = StructuredPrompt.from_dict(
        {"base": "A man.", "phases": [{"start": 0, "end": 0.36, "action": "Waves."}]}
    ).tokenise(FakeEncoders().tokenizer)
    padding = 16 - len(tokens.ids)
    assert batch["phase_ids"][0].tolist() == [*tokens.phase_ids.tolist(), *[-1] * padding]
    assert not batch["text"][0, -padding:].any() and batch["text"][0, :-padding].any(-1).all()
    np.testing.assert_allclose(batch["phase_windows"][0], [[0, 0.36]] + [[0, 0]] * 7, atol=1e-6)
    np.testing.assert_allclose(batch["phase_windows"][1], [[0, 0.36]] + [[0, 0]] * 7, atol=1e-6)  # the second action


def test_each_epoch_holds_every_record_once_in_its_own_order(shard_dir):
    stream = take(loader(shard_dir / "32x64x9", batch_size=1), 21)
    pictures = [batch["latents"].tobytes() for batch in stream]
    epochs = [pictures[:7], pictures[7:14], pictures[14:]]
    assert all(len(set(epoch)) == 7 and set(epoch) == set(epochs[0]) for epoch in epochs)
    assert epochs[0] != epochs[1] and epochs[1] != epochs[2]
    other = [batch["latents"].tobytes() for batch in take(loader(shard_dir / "32x64x9", batch_size=1, seed=6), 7)]
    assert other != epochs[0]


@pytest.mark.parametrize("position", [0, 1, 5, 12])
def test_a_restored_iterator_goes_on_with_the_same_batches(shard_dir, position):
    dataset = loader(shard_dir)
    iterator = iter(dataset)
    for _ in range(position):
        next(iterator)
    state = json.loads(json.dumps(iterator.get_state()))  # as a checkpoint stores it
    ahead = list(itertools.islice(iterator, 9))
    restored = iter(loader(shard_dir))
    next(restored)
    restored.set_state(state)
    again = list(itertools.islice(restored, 9))
    assert len(again) == 9
    for left, right in zip(ahead, again, strict=True):
        same(left, right)


def test_the_stream_does_not_depend_on_processes_or_batch_size(shard_dir):
    folder, drop = shard_dir / "32x64x9", {"text_drop": 0.3, "audio_drop": 0.3, "both_drop": 0.2}
    whole = by_index(take(loader(folder, batch_size=4, **drop), 9))
    assert sorted(whole) == list(range(36))
    for shares in ([[0, 1], [2, 3]], [[0], [1], [2], [3]], [[0, 2], [1, 3]]):
        parts = [take(loader(folder, batch_size=4, rows=rows, **drop), 9) for rows in shares]
        for rows, part in zip(shares, parts, strict=True):
            assert [batch["index"].tolist() for batch in part] == [[4 * k + row for row in rows] for k in range(9)]
        merged = by_index(itertools.chain(*parts))
        assert merged.keys() == whole.keys()
        for index in whole:
            same(merged[index], whole[index])
    for index, sample in by_index(take(loader(folder, batch_size=3, **drop), 12)).items():
        same(sample, whole[index])


def test_a_place_in_the_data_holds_for_any_number_of_processes(shard_dir):
    """What two processes left after three batches, one goes on with, and the other way round."""
    shares = [[0, 1], [2, 3]]
    many = [iter(loader(shard_dir, batch_size=4, rows=rows)) for rows in shares]
    one = iter(loader(shard_dir, batch_size=4))
    for iterator in (*many, one):
        for _ in range(3):
            next(iterator)
    states = [iterator.get_state() for iterator in (*many, one)]
    assert states[0] == states[1] == states[2]
    alone, second = iter(loader(shard_dir, batch_size=4)), iter(loader(shard_dir, batch_size=4, rows=shares[1]))
    alone.set_state(states[0])
    second.set_state(states[2])
    for _ in range(4):
        halves, whole = [next(iterator) for iterator in many], next(alone)
        same({key: np.concatenate([half[key] for half in halves]) for key in whole}, whole)
        same(next(second), halves[1])


def test_buckets_mix_by_batch_and_by_number_of_records(shard_dir):
    batches = take(loader(shard_dir, batch_size=2), 45)
    shapes = [batch["latents"].shape[2:4] for batch in batches]
    assert set(shapes) == {(2, 4), (4, 2)} and abs(shapes.count((4, 2)) - 45 * 2 / 9) <= 1
    assert len(by_index(batches)) == 90  # no index twice, over both buckets
    for row in range(2):  # all processes have the same bucket at the same step
        part = take(loader(shard_dir, batch_size=2, rows=[row]), 45)
        assert [batch["latents"].shape[2:4] for batch in part] == shapes


def test_one_pass_over_everything(shard_dir):
    samples = [batch["latents"].shape[0] for batch in loader(shard_dir, repeat=False, shuffle=False)]
    assert samples == [2, 2, 2, 1, 2]
    second = loader(shard_dir, repeat=False, shuffle=False, rows=[1])
    assert [batch["latents"].shape[0] for batch in second] == [1, 1, 1, 1]  # neither last batch is whole but one


# ---- several corpora


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


def test_dropout_is_one_draw_of_four_cases(shard_dir):
    drop = {"text_drop": 0.1, "audio_drop": 0.2, "both_drop": 0.3}
    empty = open_dataset(shard_dir / "32x64x9").empty_prompt.embeds
    cases = np.zeros((2, 2), int)
    for sample in by_index(take(loader(shard_dir / "32x64x9", batch_size=50, **drop), 12)).values():
        text_gone = bool(np.array_equal(sample["text"][: len(empty)], empty) and not sample["text"][len(empty) :].any())
        audio_gone = not sample["audio"].any()
        assert text_gone == (sample["phase_ids"].tolist() == [0] * len(empty) + [-1] * (16 - len(empty)))
        assert not (text_gone and sample["phase_windows"].any())
        cases[int(text_gone), int(audio_gone)] += 1
    expected = 600 * np.array([[0.4, 0.2], [0.1, 0.3]])
    assert (np.abs(cases - expected) < 4.5 * np.sqrt(expected)).all(), cases


def test_shards_that_do_not_fit_are_refused(shard_dir, tmp_path):
    fingerprint = FakeEncoders().fingerprint()
    take(loader(shard_dir, fingerprint=fingerprint), 1)
    with pytest.raises(InputError, match="the video that made them is fake, not other"):
        loader(shard_dir, fingerprint=fingerprint | {"video": "other"})
    for key, value in [("schema", 2), ("layout", "TCHW"), ("fps", 24)]:
        copy = tmp_path / key
        copy.mkdir()
        for path in (shard_dir / "32x64x9").iterdir():
            (copy / path.name).write_bytes(path.read_bytes())
        metadata = json.loads((copy / "metadata.json").read_text()) | {key: value}
        (copy / "metadata.json").write_text(json.dumps(metadata))
        with pytest.raises(InputError, match=f"{key} is {value}"):
            loader(copy)
        with pytest.raises(InputError):
            loader([shard_dir, copy])
    with pytest.raises(InputError, match="no encoded clips"):
        loader(tmp_path / "nothing")
    with pytest.raises(InputError, match="at least 1"):
        loader(shard_dir, batch_size=0)
    with pytest.raises(InputError, match="at most 1"):
        loader(shard_dir, text_drop=0.9, both_drop=0.2)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
def test_memory_of_records_is_used_again():
    """Page faults of making and freeing three blocks of 14 MB, twenty times, in a process of its own."""
    script = """
import resource, sys
if sys.argv[1] == "keep":
    from data_pipelines.loading.memory import keep_freed_memory
    keep_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    blocks = [b"x" * 14_000_000 for _ in range(3)]
    del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    root = Path(__file__).parents[3]
    given_back, kept = (
        int(subprocess.run([sys.executable, "-c", script, how], cwd=root, capture_output=True, check=True).stdout)
        for how in ("default", "keep")
    )
    pages = 3 * 14_000_000 / resource.getpagesize()
    assert given_back > 5 * pages and kept < 2 * pages, (given_back, kept)


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
