"""What ActAvatarDiT promises beside parity: identity at step 0, no leakage, equal forms of the same computation."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.media.clock import latent_times
from actavatar_jax.models import ADAPTER, PHASES, Execution
from actavatar_jax.models.avatar import ActAvatarDiT, AudioAdapterConfig, DiTConfig
from actavatar_jax.models.avatar.audio_adapter import AudioCrossAttention, depth_scale
from actavatar_jax.models.avatar.guess import gaussian_data, gaussian_velocity
from actavatar_jax.models.avatar.positions import frame_sinusoids, patchify, sinusoid, unpatchify
from actavatar_jax.models.avatar.relay import window_penalty

CONFIG = DiTConfig(
    width=48,
    heads=2,
    head_dim=24,
    ffn=64,
    layers=3,
    in_channels=4,
    out_channels=4,
    text_dim=12,
    text_len=10,
    freq_dim=16,
    audio=AudioAdapterConfig(feature_layers=2, feature_width=6, hidden=8, tokens=3, token_width=8),
)
GRID = (3, 4, 4)
INPUTS = {
    "text": jax.random.normal(jax.random.key(1), (2, 10, 12)).at[:, 8:].set(0),
    "phase_ids": jnp.asarray([[0, 0, 1, 1, 1, 2, 2, 0, -1, -1]] * 2),
    "phase_windows": jnp.zeros((2, 8, 2)).at[:, 0].set(jnp.array([0.0, 0.1])).at[:, 1].set(jnp.array([0.2, 0.36])),
    "audio": jax.random.normal(jax.random.key(2), (2, 9, 2, 6)),
}
LATENTS = jax.random.normal(jax.random.key(3), (2, *GRID, 4))
TIMES = jnp.asarray([[0.0, 700, 700], [0, 300, 300]])


def randomised(config: DiTConfig, seed: int = 0):
    """Every leaf random: nothing hides behind a zero or a one."""
    flat = functional.flatten(functional.abstract(ActAvatarDiT, config))
    keys = jax.random.split(jax.random.key(seed), len(flat))
    draw = {n: jax.random.normal(k, v.shape) * 0.2 for (n, v), k in zip(flat.items(), keys, strict=True)}
    return functional.unflatten({n: v + 1 if n.endswith("scale") else v for n, v in draw.items()})


def initial(config: DiTConfig):
    """Flat initial values."""
    draw = jax.jit(functional.init, static_argnums=(0, 1), compiler_options=functional.RUN_ONCE)
    return functional.flatten(draw(ActAvatarDiT, config, jax.random.key(0)))


def run(config, params, latents=LATENTS, times=TIMES, cached=False, execution=Execution(), **changed):  # noqa: B008
    def forward(params, inputs, latents):
        model = functional.bind(ActAvatarDiT, config, params, execution)
        conditions = model.condition(**inputs, grid=latents.shape[1:4])
        return model(latents, times, model.cache(conditions) if cached else conditions)

    return jax.jit(forward, compiler_options=functional.RUN_ONCE)(params, INPUTS | changed, latents)


def test_full_size_has_the_published_parameters():
    flat = functional.flatten(functional.abstract(ActAvatarDiT, DiTConfig()))
    adapter, backbone = functional.split(flat, f"{ADAPTER}|{PHASES}")
    assert functional.count(backbone) == 4_999_787_712
    # 30 blocks of 23.6 M, the projection of 74 M, nine phase rows.
    assert functional.count(adapter) == 782_556_160 + 9 * 4096


@pytest.mark.slow
def test_identity_at_step_zero():
    """Zero phase rows and a zero audio output: neither phases nor speech change anything yet."""
    params = functional.flatten(randomised(CONFIG))
    for name in params:
        if name.startswith(("phase_embedding", "blocks/audio_attn/out")):
            params[name] = jnp.zeros_like(params[name])
    params = functional.unflatten(params)
    plain = run(CONFIG, params)
    other = run(CONFIG, params, audio=INPUTS["audio"] * 3, phase_ids=jnp.zeros((2, 10), int))
    assert np.array_equal(plain, other)
    fresh = initial(CONFIG)
    assert not np.any(fresh["phase_embedding/embedding"])
    assert not np.any(fresh["blocks/audio_attn/out/kernel"])
    assert not np.any(fresh["blocks/audio_attn/out/bias"])


@pytest.mark.slow
def test_phases_change_the_result_and_padding_does_not_carry_them():
    params = randomised(CONFIG)
    plain = run(CONFIG, params)
    assert not np.allclose(plain, run(CONFIG, params, phase_ids=INPUTS["phase_ids"].at[:, 2].set(2)))
    grad = jax.grad(
        lambda table: (
            functional.bind(ActAvatarDiT, CONFIG, params | {"phase_embedding": {"embedding": table}})
            .condition(**INPUTS, grid=GRID)
            .text[:, 8:]
            .sum()
        )
    )(params["phase_embedding"]["embedding"])
    assert not np.any(grad)  # the padding rows of the text carry no embedding


@pytest.mark.parametrize("form", ["paper", "paper+soft_relay", "paper+relay", "tie"])
def test_cached_keys_and_values_change_nothing(form):
    config = dataclasses.replace(CONFIG, phase_time=form)
    params = randomised(config)
    np.testing.assert_allclose(run(config, params), run(config, params, cached=True), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("remat", ["full", "attention"])
def test_rematerialisation_changes_no_gradient(remat):
    params = randomised(CONFIG)

    def loss(params, remat):
        model = functional.bind(ActAvatarDiT, CONFIG, params, Execution(remat=remat))
        return jnp.sum(jnp.square(model(LATENTS, TIMES, model.condition(**INPUTS, grid=GRID))))

    grad = jax.jit(jax.grad(loss), static_argnums=1, compiler_options=functional.RUN_ONCE)
    want, got = grad(params, "none"), grad(params, remat)
    for a, b in zip(jax.tree.leaves(want), jax.tree.leaves(got), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(a).max())


def test_chunked_attention_changes_nothing():
    params = randomised(CONFIG)
    chunked = run(CONFIG, params, execution=Execution(attention="chunked"))
    np.testing.assert_allclose(run(CONFIG, params), chunked, rtol=1e-5, atol=1e-5)


def test_bf16_compute_stays_near_fp32():
    params = randomised(CONFIG)
    exact, rounded = run(CONFIG, params), run(CONFIG, params, execution=Execution("bfloat16"))
    assert np.abs(rounded - exact).max() / np.abs(exact).max() < 0.03


@pytest.mark.slow
def test_a_float32_stream_keeps_what_the_first_blocks_hear():
    """At a tenth of the stream, most of what block 1 adds is lost in bfloat16, but not in a float32 stream."""
    params = functional.flatten(randomised(CONFIG))
    for name in params:  # nothing but the audio of the first block changes the stream
        if re.fullmatch(r"blocks/(self_attn|cross_attn)/out/.*|blocks/ffn/down/.*|blocks/modulation", name):
            params[name] = jnp.zeros_like(params[name])
        if name.startswith("blocks/audio_attn/out"):
            params[name] = 1e-4 * params[name]
    params = functional.unflatten(params)
    quiet = {"audio": jnp.zeros_like(INPUTS["audio"])}

    def heard(**execution):
        e = Execution(**execution)
        return np.abs(run(CONFIG, params, execution=e) - run(CONFIG, params, execution=e, **quiet)).mean()

    exact = heard()
    assert heard(dtype="bfloat16") < 0.5 * exact
    np.testing.assert_allclose(heard(dtype="bfloat16", stream="float32"), exact, rtol=0.1)


def test_depth_scale_multiplies_what_each_block_hears():
    """gamma 1.5 equals gamma 0 with every block's audio output weights scaled by f(l)."""
    params = functional.flatten(randomised(CONFIG))
    flat = dataclasses.replace(CONFIG, audio=dataclasses.replace(CONFIG.audio, gamma=0.0))
    scale = depth_scale(CONFIG.layers, 1.5)
    scaled = dict(params)
    for name, shape in (("kernel", (-1, 1, 1)), ("bias", (-1, 1))):
        scaled[f"blocks/audio_attn/out/{name}"] *= scale.reshape(shape)
    want = run(CONFIG, functional.unflatten(params))
    np.testing.assert_allclose(run(flat, functional.unflatten(scaled)), want, rtol=1e-4, atol=1e-5)
    assert not np.allclose(run(flat, functional.unflatten(params)), want, rtol=1e-2)


@pytest.mark.slow
def test_audio_of_one_latent_frame_never_reaches_another():
    """Gradients across latent frames are exactly zero inside the audio cross-attention."""
    module = AudioCrossAttention(CONFIG.audio, 48, 2, 24, Execution(), rngs=nnx.Rngs(0))
    module.out.kernel[...] = jax.random.normal(jax.random.key(0), module.out.kernel.shape)
    x, tokens = jnp.ones((1, 3, 4, 48)), jax.random.normal(jax.random.key(1), (1, 3, 3, 8))
    jacobian = jax.jacobian(lambda a: module(x, module.keys_values(a)).sum((0, 2, 3)))(tokens)  # [3, 1, 3, A, E]
    reach = np.abs(jacobian).sum((1, 3, 4)) > 0
    assert np.array_equal(reach, np.eye(3, dtype=bool))


@pytest.mark.slow
def test_optional_helps_start_as_the_identity():
    params = randomised(CONFIG)
    plain = run(CONFIG, params)
    for option in ({"phase_time": "paper+soft_relay"}, {"frame_time": True}, {"place": True}):
        config = dataclasses.replace(CONFIG, **option)
        fresh = initial(config)
        grown = functional.unflatten({**fresh, **functional.flatten(params)})
        np.testing.assert_allclose(run(config, grown), plain, rtol=1e-5, atol=1e-5)
        extra = [n for n in fresh if n not in functional.flatten(params)]
        direction = jax.random.normal(jax.random.key(5), (2048,))
        moved = functional.unflatten(
            {**fresh, **functional.flatten(params)}
            | {n: fresh[n] + direction[: fresh[n].size].reshape(fresh[n].shape) for n in extra}
        )
        assert not np.allclose(run(config, moved), plain, rtol=1e-3)


@pytest.mark.slow
def test_place_tells_rows_and_columns_apart():
    """With everything else alike, the tokens of a frame differ by their learned places alone."""
    config = dataclasses.replace(CONFIG, place=True)
    flat = initial(config)
    flat["place/kernel"] = 0.1 * jax.random.normal(jax.random.key(3), flat["place/kernel"].shape)
    model = functional.bind(ActAvatarDiT, config, functional.unflatten(flat))
    same = jnp.ones_like(LATENTS)
    tokens, *_ = model._embed(same, TIMES, model.condition(**INPUTS, grid=same.shape[1:4]))
    first = np.asarray(tokens[0, 0])
    apart = np.abs(first[:, None] - first[None]).max(-1)
    assert (apart[~np.eye(len(first), dtype=bool)] > 1e-2).all()


@pytest.mark.parametrize("time", [0.05, 0.5, 0.9, 1.0])
def test_gaussian_velocity_is_the_best_linear_guess(time):
    """Against a regression of velocities on noisy latents, for data of two very different variances."""
    variance, count = np.array([0.1, 4.0]), 1_000_000
    rng = np.random.default_rng(0)
    data, noise = rng.normal(size=(count, 2)) * np.sqrt(variance), rng.normal(size=(count, 2))
    noisy, velocity = (1 - time) * data + time * noise, noise - data
    slope = (noisy * velocity).mean(0) / (noisy**2).mean(0)
    mean, deviation = gaussian_velocity(jnp.ones((1, 1, 1, 1, 2)), jnp.full((1, 1), time), jnp.asarray(variance))
    np.testing.assert_allclose(np.ravel(mean), slope, atol=0.012)  # 3.5 of its standard errors
    np.testing.assert_allclose(np.ravel(deviation), (velocity - slope * noisy).std(0), rtol=0.01)


@pytest.mark.parametrize("time", [0.0, 0.05, 0.5, 0.9, 1.0])
def test_gaussian_data_is_the_best_linear_guess(time):
    variance, count = np.array([0.1, 4.0]), 1_000_000
    rng = np.random.default_rng(0)
    data, noise = rng.normal(size=(count, 2)) * np.sqrt(variance), rng.normal(size=(count, 2))
    noisy = (1 - time) * data + time * noise
    guess = gaussian_data(jnp.ones((1, 1, 1, 1, 2)), jnp.full((1, 1), time), jnp.asarray(variance))
    np.testing.assert_allclose(np.ravel(guess), (noisy * data).mean(0) / (noisy**2).mean(0), atol=0.012)


@pytest.mark.slow
def test_with_the_linear_guess_nothing_of_pure_noise_is_seen_but_first_frames_are():
    config = dataclasses.replace(CONFIG, linear_guess=True)
    params = randomised(config)
    params["latent_log_variance"] = jnp.zeros(4)
    pure = jnp.full_like(TIMES, 1000.0).at[:, 0].set(0)
    other = LATENTS.at[:, 1:].set(jax.random.normal(jax.random.key(9), LATENTS[:, 1:].shape))
    known = (
        gaussian_velocity(LATENTS, pure / 1000, jnp.ones(4))[0],
        gaussian_velocity(other, pure / 1000, jnp.ones(4))[0],
    )
    learnt = [run(config, params, latents=x, times=pure) - k for x, k in zip((LATENTS, other), known, strict=True)]
    np.testing.assert_allclose(learnt[0], learnt[1], atol=1e-5)
    first = run(config, params, latents=LATENTS.at[:, 0].add(1.0), times=pure) - known[0]
    assert np.abs(first[:, 1:] - learnt[0][:, 1:]).max() > 1e-3


@pytest.mark.slow
def test_a_model_with_the_linear_guess_starts_as_it_and_learns_its_variance():
    config = dataclasses.replace(CONFIG, linear_guess=True)
    flat = initial(config) | {"latent_log_variance": jnp.log(jnp.asarray([0.1, 0.5, 1.0, 4.0]))}
    expected, _ = gaussian_velocity(LATENTS, TIMES / 1000, jnp.asarray([0.1, 0.5, 1.0, 4.0]))
    np.testing.assert_allclose(run(config, functional.unflatten(flat)), expected, rtol=1e-5, atol=1e-5)


def test_window_penalty_is_zero_inside_and_for_base_and_padding():
    ids = jnp.asarray([[0, 1, 2, -1]])
    windows = jnp.zeros((1, 8, 2)).at[0, 0].set(jnp.array([0.0, 2.0])).at[0, 1].set(jnp.array([2.0, 4.0]))
    penalty = np.asarray(window_penalty(ids, windows, 32))[0]
    times = latent_times(32)
    assert not penalty[:, [0, 3]].any()
    inside = (times > 0.2) & (times < 1.8)
    assert not penalty[inside, 1].any()
    assert (penalty[inside, 2] > 7).all()  # e^-7 = 0.001
    assert (penalty[times > 2.2, 1] > 7).all()


def test_a_model_of_16_frames_a_second_has_windows_and_times_in_seconds():
    """Its latent frames lie 1.5625 times as far apart: what happens in windows as much longer is the same to it."""
    slow = dataclasses.replace(CONFIG, latent_rate=4.0, phase_time="paper+relay", frame_time=True)
    assert (slow.rate, CONFIG.rate) == (16, 25)
    ids, windows = jnp.asarray([[0, 1, 2, -1]]), jnp.asarray([[[0.5, 1.5], [2.0, 3.0]]])
    np.testing.assert_allclose(
        window_penalty(ids, windows * 25 / 16, 16, 16), window_penalty(ids, windows, 16), rtol=1e-4
    )
    np.testing.assert_allclose(latent_times(16, 16), latent_times(16) * 25 / 16, rtol=1e-6)
    np.testing.assert_allclose(frame_sinusoids(4, 8, 16), sinusoid(jnp.asarray(latent_times(4, 16)) * 200, 8))
    with pytest.raises(InputError, match=r"latent_rate is 5.0; accepted is 4.0 or 6.25"):
        dataclasses.replace(CONFIG, latent_rate=5.0)


def test_patches_are_channel_major_in_and_channel_minor_out():
    x = jnp.arange(2 * 2 * 4 * 4 * 3, dtype=jnp.float32).reshape(2, 2, 4, 4, 3)
    inner = patchify(x, (1, 2, 2))[0, 0, 1]  # second patch of the first row
    assert inner.tolist() == [float(x[0, 0, r, 2 + q, c]) for c in range(3) for r in range(2) for q in range(2)]
    tokens = patchify(x, (1, 2, 2)).reshape(2, 2, 4, 3, 2, 2).transpose(0, 1, 2, 4, 5, 3).reshape(2, 2, 4, 12)
    assert np.array_equal(unpatchify(tokens, x.shape, (1, 2, 2)), x)
