"""`ActAvatarDiT` with its adapter at the identity against diffusers' `WanTransformer3DModel`, float32."""

import dataclasses

import jax
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.models import Execution
from actavatar_jax.models.avatar import ActAvatarDiT, AudioAdapterConfig, DiTConfig
from actavatar_jax.weights import names
from actavatar_jax.weights.tables import dit as tables

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

CONFIG = DiTConfig(
    width=72,
    heads=3,
    head_dim=24,
    ffn=96,
    layers=3,
    in_channels=6,
    out_channels=6,
    text_dim=20,
    text_len=16,
    freq_dim=32,
    audio=AudioAdapterConfig(feature_layers=2, feature_width=4, hidden=8, tokens=3, token_width=8),
)
GRID = (3, 6, 8)


@pytest.fixture(scope="module")
def theirs():
    """diffusers' model, every parameter random, biases, gains and the zero-initialised head included."""
    torch.manual_seed(0)
    model = diffusers.WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=3, attention_head_dim=24, in_channels=6, out_channels=6, text_dim=20,
        freq_dim=32, ffn_dim=96, num_layers=3, cross_attn_norm=True, qk_norm="rms_norm_across_heads",
    )  # fmt: skip
    for name, parameter in model.named_parameters():
        gain = "norm" in name and name.endswith("weight")
        spread = 0.2 if parameter.ndim == 1 or "table" in name else parameter[0].numel() ** -0.5
        parameter.data = torch.randn(parameter.shape) * spread + (1.0 if gain else 0.0)
    return model.eval()


@pytest.mark.slow
@pytest.mark.parametrize("form", ["paper", "paper+soft_relay"])  # whose strength is zero, but which takes another path
@pytest.mark.parametrize("attention", ["xla", "chunked"])
def test_velocity(theirs, form, attention):
    config, execution = dataclasses.replace(CONFIG, phase_time=form), Execution(attention=attention)
    draw = jax.jit(functional.init, static_argnums=(0, 1), compiler_options=functional.RUN_ONCE)
    params = names.import_params(
        tables.diffusers(config),
        functional.abstract(ActAvatarDiT, config),
        names.Arrays({name: value.detach().numpy() for name, value in theirs.state_dict().items()}),
        initial=draw(ActAvatarDiT, config, jax.random.key(0)),
        may_miss=tables.ADDED,
    )
    rng = np.random.default_rng(0)
    latents = rng.standard_normal((2, *GRID, 6)).astype(np.float32)
    text = rng.standard_normal((2, 16, 20)).astype(np.float32)
    text[:, 11:] = 0  # padding takes part in attention
    times = np.asarray([[0, 700, 700], [0, 45, 45]], np.float32)

    conditions = {
        "text": text,
        "phase_ids": np.tile(np.asarray([0] * 4 + [1] * 4 + [2] * 3 + [-1] * 5, np.int32), (2, 1)),
        "phase_windows": np.tile(np.asarray([[0.0, 0.1], [0.1, 0.3]] + [[0, 0]] * 6, np.float32), (2, 1, 1)),
        "audio": rng.standard_normal((2, 9, 2, 4)).astype(np.float32),
    }

    @jax.jit
    def ours(params, latents, times, conditions):
        model = functional.bind(ActAvatarDiT, config, params, execution)
        return model(latents, times, model.cache(model.condition(**conditions, grid=GRID)))

    tokens_per_frame = GRID[1] * GRID[2] // 4
    with torch.no_grad():
        want = theirs(
            hidden_states=torch.from_numpy(latents).permute(0, 4, 1, 2, 3),
            timestep=torch.from_numpy(np.repeat(times, tokens_per_frame, axis=1)),
            encoder_hidden_states=torch.from_numpy(text),
        ).sample.permute(0, 2, 3, 4, 1)
    got, want = np.asarray(ours(params, latents, times, conditions)), want.numpy()
    assert np.abs(got - want).max() / np.abs(want).max() < 1e-5
