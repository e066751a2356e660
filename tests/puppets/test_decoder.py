"""Training a frame decoder: it beats the linear decode, and ended at any moment it goes on as if nothing had been."""

import dataclasses
import itertools
import json
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.models import FrameDecoder, FrameDecoderConfig
from actavatar_jax.puppets import decoder as training
from actavatar_jax.puppets.decoder import Batches, Example, Settings, train_decoder

CONFIG = FrameDecoderConfig(widths=(8, 12), warps=1)
GROUPS, SIDE = 3, 8
SETTINGS = Settings(steps=12, batch=4, pool=5, checkpoint_every=4, log_every=2)


def example(number: int, groups: int = GROUPS) -> Example:
    """A square on a wall that moves up by a pixel in every group, and latents that tell it with a blotch."""
    rng = np.random.default_rng(number)
    wall, square = rng.integers(0, 256, (2, 3), np.uint8)
    first = np.tile(wall, (SIDE, SIDE, 1))
    first[3:7, 2:6] = square
    frames = np.stack([np.roll(first, -group, axis=0) for group in range(groups)])[:, None].repeat(4, axis=1)
    true = (frames[:, 0] / 127.5 - 1).astype(np.float32)
    made = true + np.float32(0.5) * rng.standard_normal((groups, 1, 1, 3), np.float32)
    boxes = rng.random((2, groups, 4, SIDE, SIDE)) < 0.3
    return Example(first, frames, made, true, *boxes)


def examples(start: int):
    return map(example, itertools.count(start))


def linear(latents, first):
    """The latents are the picture of all four frames."""
    return jnp.repeat(latents[:, None], 4, axis=1)


def train(workdir, settings=SETTINGS, visit=None, examples=examples, config=CONFIG):
    return train_decoder(config, examples, linear, settings, workdir, visit)


def records(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("undisturbed")
    return train(workdir), workdir


# ---- the whole


@pytest.mark.slow
def test_it_beats_the_linear_decode(tmp_path):
    seen = []
    settings = Settings(steps=120, batch=16, pool=24, learning_rate=1e-2, checkpoint_every=120, log_every=40)
    params = train(tmp_path, settings, lambda params, step, record: seen.append((step, record)))
    assert [step for step, _ in seen] == [40, 80, 120]
    assert seen == [(record["step"], record) for record in records(tmp_path)]
    losses = [record["loss"] for _, record in seen]
    assert losses == sorted(losses, reverse=True)
    last = seen[-1][1]
    assert last["l1"] < 0.6 * last["linear_l1"]
    assert last["seconds"] > 0 and last["cpu_seconds"] > 0
    unseen = [example(10_000 + i) for i in range(8)]
    made, frames = (np.concatenate([getattr(one, name) for one in unseen]) for name in ("made", "frames"))
    first = np.repeat([one.first for one in unseen], GROUPS, axis=0).astype(np.float32) / 127.5 - 1
    decoded = linear(made, first)
    drawn = jax.jit(lambda *parts: functional.bind(FrameDecoder, CONFIG, params)(*parts))(decoded, first)
    truth = frames / 127.5 - 1
    assert np.abs(drawn - truth).mean() < 0.7 * np.abs(decoded - truth).mean()


def test_it_goes_on_from_a_decoder_that_is_given(tmp_path, undisturbed):
    settings = Settings(steps=1, batch=4, pool=5, learning_rate=1e-9, checkpoint_every=1, log_every=1)
    start = jax.tree.map(jnp.asarray, undisturbed[0])
    params = train_decoder(CONFIG, examples, linear, settings, tmp_path, start=start)
    jax.tree.map(lambda new, old: np.testing.assert_allclose(new, old, atol=1e-7), params, undisturbed[0])
    with pytest.raises(InputError, match=r"run with other settings: start \(\w{32} then, None now\)"):
        train_decoder(CONFIG, examples, linear, settings, tmp_path)


def same(left, right):
    return all(jax.tree.leaves(jax.tree.map(np.array_equal, left, right)))


def told(workdir):
    return [(record["step"], record["loss"], record["l1"]) for record in records(workdir)]


def test_ended_by_sigterm_it_saves_exits_with_75_and_goes_on_bit_for_bit(tmp_path, undisturbed):
    def end(params, step, record):
        if step == 6:  # no step at which it saves anyway
            os.kill(os.getpid(), signal.SIGTERM)

    starts = []

    def noting(start):
        starts.append(start)
        return examples(start)

    with pytest.raises(SystemExit) as left:
        train(tmp_path, visit=end, examples=noting)
    assert left.value.code == 75
    # The signal comes after step 6 and is seen after step 7 at the latest. Seven steps of 4 use up 9 clips of 3.
    params = train(tmp_path, examples=noting)
    assert starts[0] == 0 and starts[1] in (6 * 4 // 3, 7 * 4 // 3)
    assert same(params, undisturbed[0])
    assert told(tmp_path)[-2:] == told(undisturbed[1])[-2:]


def test_killed_between_checkpoints_it_goes_on_bit_for_bit_from_the_last(tmp_path, undisturbed):
    def kill(params, step, record):
        if step == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, visit=kill)
    assert told(tmp_path)[-1][0] == 10
    visited = []
    params = train(tmp_path, visit=lambda params, step, record: visited.append(step))
    assert visited == [10, 12]
    assert same(params, undisturbed[0])
    assert told(tmp_path) == told(undisturbed[1])


def test_a_finished_run_gives_its_parameters_again_and_draws_nothing(undisturbed):
    params, workdir = undisturbed
    assert same(train(workdir, examples=lambda start: iter(())), params)


def test_other_seeds_and_other_settings_are_told_from_each_other(undisturbed):
    params, workdir = undisturbed
    with pytest.raises(InputError, match=r"training.mouth \(6.0 then, 7.0 now\)"):
        train(workdir, dataclasses.replace(SETTINGS, mouth=7.0))
    with pytest.raises(InputError, match=r"decoder.warps \(1 then, 2 now\)"):
        train(workdir, config=dataclasses.replace(CONFIG, warps=2))
    assert same(train(workdir, dataclasses.replace(SETTINGS, log_every=3, checkpoint_every=5)), params)


def test_a_loss_that_is_not_finite_ends_it(tmp_path):
    def broken(start):
        for one in examples(start):
            yield one._replace(made=one.made * np.float32(np.nan))

    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        train(tmp_path, dataclasses.replace(SETTINGS, clean_share=0.0), examples=broken)


# ---- batches


def numbered(start: int):
    """Clips whose pixels and latents tell their number and the group's."""
    for number in itertools.count(start):
        one = example(number)
        tags = np.broadcast_to(np.arange(GROUPS, dtype=np.uint8)[:, None, None, None, None], one.frames.shape)
        yield one._replace(
            first=np.full_like(one.first, number),
            frames=tags.copy(),
            made=np.broadcast_to(np.float32(number) + tags[:, 0] / 10, one.made.shape).astype(np.float32),
        )


def test_a_window_of_clips_moves_on_as_fast_as_it_is_used_up():
    drawn = []

    def counted(start):
        for number, one in enumerate(numbered(start), start):
            drawn.append(number)
            yield one

    batches = Batches(counted, dataclasses.replace(SETTINGS, clean_share=0.0))
    uses = np.zeros((60, GROUPS), int)
    for step in range(40):  # a step takes 4 groups, one clip and a third
        batch = next(batches)
        clips, groups = batch.first[:, 0, 0, 0].astype(int), batch.frames[:, 0, 0, 0, 0].astype(int)
        oldest = step * 4 // 3
        assert oldest <= clips.min() and clips.max() < oldest + 5
        assert len(set(zip(clips, groups, strict=True))) == 4
        np.testing.assert_allclose(batch.latents[:, 0, 0, 0], clips + groups / 10, rtol=1e-6)
        np.add.at(uses, (clips, groups), 1)
    assert drawn == list(range(39 * 4 // 3 + 5))
    steady = uses[5:50]
    assert steady.sum(axis=1).mean() == pytest.approx(GROUPS, rel=0.1)
    assert (steady.sum(axis=0) > 25).all()


def test_every_part_of_a_group_is_of_the_same_clip_and_group():
    batch = next(Batches(examples, dataclasses.replace(SETTINGS, clean_share=0.0)))
    clips = [example(number) for number in range(5)]
    for i in range(4):
        matches = [
            (clip, group)
            for clip, group in itertools.product(clips, range(GROUPS))
            if np.array_equal(clip.made[group], batch.latents[i])
        ]
        ((clip, group),) = matches
        np.testing.assert_array_equal(batch.first[i], clip.first)
        for name in ("frames", "mouth", "hands"):
            np.testing.assert_array_equal(getattr(batch, name)[i], getattr(clip, name)[group])


def test_clean_latents_are_the_true_ones_with_up_to_a_fifth_of_noise():
    settings = Settings(steps=1, batch=60, pool=20, clean_share=0.25)
    still = [example(0)._replace(true=np.zeros((GROUPS, 16, 16, 3), np.float32))] * 20
    still = [one._replace(made=np.full_like(one.true, 9)) for one in still]
    latents = next(Batches(lambda start: iter(still), settings)).latents
    clean = latents[(latents != 9).any(axis=(1, 2, 3))]
    assert 5 <= len(clean) <= 25
    assert np.abs(clean.mean(axis=(1, 2, 3))).max() < 0.05
    deviations = clean.std(axis=(1, 2, 3))
    assert deviations.max() < 0.22 and deviations.min() < 0.08 and deviations.max() > 0.12


def test_batches_that_cannot_be_made_are_refused():
    with pytest.raises(InputError, match="examples end before clip 3"):
        next(Batches(lambda start: itertools.islice(examples(start), 3), SETTINGS))
    with pytest.raises(InputError, match="A batch of 16 groups is more than 5 clips of 3"):
        next(Batches(examples, dataclasses.replace(SETTINGS, batch=16)))
    with pytest.raises(InputError, match=r"Clip 1 .* clips of one shape"):
        next(Batches(lambda start: (example(number, 3 + number) for number in itertools.count(start)), SETTINGS))


# ---- loss and rate


@pytest.mark.slow
def test_the_loss_weighs_what_moved_the_mouth_and_the_hands():
    settings = dataclasses.replace(SETTINGS, moved=2.0, mouth=5.0, hands=3.0, squared=0.5, clean_share=0.0)
    batch = next(Batches(examples, settings))
    moving = batch.frames.copy()
    moving[:, 0] = np.clip(batch.first.astype(int) + 12, 0, 255)  # just below the threshold of 12.75
    batch = batch._replace(frames=moving)
    params = training.initialise(CONFIG, seed=0)
    loss, metrics = training.decoder_loss(CONFIG, settings, linear, params, jax.device_put(batch))

    first, frames = batch.first / 127.5 - 1, batch.frames / 127.5 - 1
    decoded = np.asarray(linear(batch.latents, first))
    bound = functional.bind(FrameDecoder, CONFIG, params)
    error = np.abs(bound(jnp.asarray(decoded), jnp.asarray(first, jnp.float32)) - frames)
    moved = (np.abs(batch.frames.astype(int) - batch.first[:, None]) >= 13).any(axis=-1)
    assert not moved[:, 0].any() and moved[:, 1].any()
    weight = 1 + 2 * moved + 5 * batch.mouth + 3 * batch.hands
    missed = (error + 0.5 * error**2).mean(axis=-1)
    assert float(loss) == pytest.approx((missed * weight).sum() / weight.sum(), rel=1e-5)
    assert float(metrics["l1"]) == pytest.approx(error.mean(), rel=1e-5)
    assert float(metrics["linear_l1"]) == pytest.approx(np.abs(decoded - frames).mean(), rel=1e-5)


def test_the_rate_is_flat_then_falls_to_zero_along_a_cosine():
    optimizer = training.make_optimizer(Settings(steps=20, flat=0.4, learning_rate=0.5))
    params = {"a": jnp.ones(3)}
    state, rates = optimizer.init(params), []
    for step in range(20):  # Adam's step under an unchanging gradient is the rate; clipping makes these unchanging
        updates, state = optimizer.update({"a": jnp.full(3, 100.0 if step % 2 else 10.0)}, state, params)
        rates.append(-float(updates["a"][0]))
    expected = [0.5] * 8 + [0.25 * (1 + np.cos(np.pi * i / 12)) for i in range(12)]
    np.testing.assert_allclose(rates, expected, rtol=1e-3, atol=1e-4)
