"""Loading: one stream fixed by its seed, exact resume, condition dropout, refusals."""

import itertools
import json
import shutil

import numpy as np
import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.prompt import StructuredPrompt
from data_pipelines.loading.stream import Stream
from data_pipelines.loading.transforms import FitShapes
from data_pipelines.shards import open_dataset
from tests.data.fakes import TEXT_DIM, FakeEncoders
from tests.data.loading.batches import by_index, loader, same, take


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


def test_buckets_do_not_share_a_random_order(shard_dir, tmp_path):
    """Two buckets of the same clips, one after the other: a shared order would pair their draws in every epoch."""
    for name in ("first", "second"):
        shutil.copytree(shard_dir / "32x64x9", tmp_path / name)
    source = [open_dataset(tmp_path / name).source for name in ("first", "second")]
    fit = FitShapes(open_dataset(tmp_path / "first").empty_prompt, 64, 8)
    batches = Stream(7, 5, (0.0, 0.0, 0.0)).make_batches(source, [fit, fit])
    orders = [[latent.tobytes() for latent in batch["latents"]] for batch in take(batches, 4)]
    assert len({tuple(order) for order in orders}) == 4 and all(len({*order}) == 7 for order in orders)


def test_one_pass_over_everything(shard_dir):
    samples = [batch["latents"].shape[0] for batch in loader(shard_dir, repeat=False, shuffle=False)]
    assert samples == [2, 2, 2, 1, 2]
    second = loader(shard_dir, repeat=False, shuffle=False, rows=[1])
    assert [batch["latents"].shape[0] for batch in second] == [1, 1, 1, 1]  # neither last batch is whole but one


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


def described(folder, source, **metadata):
    """A copy of a dataset with another description."""
    shutil.copytree(source, folder)
    stored = json.loads((folder / "metadata.json").read_text()) | metadata
    (folder / "metadata.json").write_text(json.dumps(stored))
    return folder


def test_texts_of_another_form_are_refused(shard_dir, tmp_path):
    anchored, bare, either = (
        described(tmp_path / name, shard_dir / "32x64x9", anchors=anchors)
        for name, anchors in (("anchored", True), ("bare", False), ("either", None))
    )
    for fitting in ([anchored, either], [bare, either], [either]):
        take(loader(fitting, anchors=bare not in fitting), 1)
        take(loader(fitting), 1)
    with pytest.raises(
        InputError, match=r"bare do not fit.* texts are bare, and a phase_time with paper reads anchors"
    ):
        loader([either, bare], anchors=True)
    with pytest.raises(
        InputError, match=r"anchored do not fit.* texts have anchors, .* reads bare ones \(encode --no-an"
    ):
        loader([either, anchored], anchors=False)
    with pytest.raises(InputError, match="bare do not fit"):
        loader([anchored, bare])
    with pytest.raises(InputError, match="anchors is 'no'"):
        loader(described(tmp_path / "odd", bare, anchors="no"))


def test_texts_had_anchors_before_that_was_written_down(shard_dir, tmp_path):
    old = described(tmp_path / "old", shard_dir / "32x64x9")
    stored = json.loads((old / "metadata.json").read_text())
    del stored["anchors"]
    (old / "metadata.json").write_text(json.dumps(stored))
    take(loader(old, anchors=True), 1)
    with pytest.raises(InputError, match="their texts have anchors"):
        loader(old, anchors=False)
