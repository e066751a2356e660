"""What is read of the text attention is what the blocks use, and its sum by phases."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.evaluation.attention import early_and_late, phase_shares
from actavatar_jax.media.clock import latent_times
from actavatar_jax.models.avatar import ActAvatarDiT, AudioAdapterConfig, DiTConfig, block

CONFIG = DiTConfig(
    width=32,
    heads=2,
    head_dim=16,
    ffn=32,
    layers=2,
    in_channels=4,
    out_channels=4,
    text_dim=12,
    text_len=10,
    freq_dim=16,
    audio=AudioAdapterConfig(feature_layers=2, feature_width=6, hidden=8, tokens=3, token_width=8),
)
FRAMES, IDS = 9, np.array([0, 0, 1, 1, 1, 2, 2, 0, -1, -1])  # the last 0 is the end token
WINDOWS = np.array([[0.0, 0.4], [0.7, 1.2]], np.float32)


def read(form: str, cached: bool = True):
    """A random model, what it reads of random input, and the same input's conditions."""
    config = dataclasses.replace(CONFIG, phase_time=form)
    flat = functional.flatten(functional.abstract(ActAvatarDiT, config))
    keys = jax.random.split(jax.random.key(0), len(flat) + 3)
    params = {n: 0.3 * jax.random.normal(k, v.shape) for (n, v), k in zip(flat.items(), keys, strict=False)}
    model = functional.bind(ActAvatarDiT, config, functional.unflatten(params))
    text = jax.random.normal(keys[-1], (1, 10, 12)).at[:, 8:].set(0)
    audio = jax.random.normal(keys[-2], (1, 4 * FRAMES - 3, 2, 6))
    windows = jnp.zeros((1, 8, 2)).at[0, :2].set(WINDOWS)
    latents, times = jax.random.normal(keys[-3], (1, FRAMES, 4, 4, 4)), jnp.full((1, FRAMES), 900.0)

    def weights():
        conditions = model.condition(text, jnp.asarray(IDS)[None], windows, audio, (FRAMES, 4, 4))
        conditions = model.cache(conditions) if cached else conditions
        return conditions, model.text_attention(latents, times, conditions)

    conditions, weights = jax.jit(weights, compiler_options=functional.RUN_ONCE)()
    return model, (latents, times, conditions), np.asarray(weights)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["paper", "paper+soft_relay", "tie"])
def test_it_is_the_softmax_of_every_block(form, monkeypatch):
    model, inputs, weights = read(form)
    assert weights.shape == (2, 1, FRAMES, 10)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(weights, read(form, cached=False)[2], atol=1e-5)

    used, real = [], block.attention

    def keep(q, k, bias):
        scores = np.exp(np.einsum("lnk,snk->nls", q[0], k[0]) / 4.0 + bias)  # 4: the root of the head dim
        used.append((scores / scores.sum(-1, keepdims=True)).mean(0).reshape(FRAMES, 4, -1).mean(1))

    def spy(q, k, v, execution, *, bias=None, **options):
        if k.shape[1] == len(IDS):
            jax.debug.callback(keep, q, k, jnp.zeros(()) if bias is None else bias[0], ordered=True)
        return real(q, k, v, execution, bias=bias, **options)

    monkeypatch.setattr(block, "attention", spy)
    jax.block_until_ready(jax.jit(model, compiler_options=functional.RUN_ONCE)(*inputs))
    jax.effects_barrier()
    np.testing.assert_allclose(weights[:, 0], np.stack(used), atol=1e-5)


@pytest.mark.slow
def test_a_hard_window_takes_a_phase_away_outside_of_it():
    shares = phase_shares(read("paper+relay")[2][:, 0], IDS, 2)
    times = latent_times(FRAMES)
    for phase, (start, end) in enumerate(WINDOWS, start=1):
        outside = (times < start - 0.16) | (times > end + 0.16)
        inside = np.abs(times - (start + end) / 2) < 0.1
        assert outside.any() and shares[:, outside, phase].max() < 1e-3 < 0.05 < shares[:, inside, phase].min()


def test_shares_leave_out_padding_and_the_end_token():
    weights = np.zeros((1, 1, 10), np.float32)
    weights[0, 0] = [0.02, 0.08, 0.1, 0.1, 0.1, 0.05, 0.05, 0.3, 0.1, 0.1]
    np.testing.assert_allclose(phase_shares(weights, IDS, 2), [[[0.2, 0.6, 0.2]]], rtol=1e-6)


def test_blocks_of_the_figure():
    assert early_and_late(30) == (4, 19)  # its blocks 5 and 20
    assert [early_and_late(n) for n in (1, 2, 4)] == [(0, 0), (0, 1), (0, 2)]
