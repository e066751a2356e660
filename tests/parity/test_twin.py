"""`ActAvatarTwin` against `ActAvatarDiT`: one model folder, the same velocity and gradients in float32."""

import dataclasses
import functools
import importlib
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import actavatar_jax
from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.models import presets
from actavatar_jax.models.avatar import ActAvatarDiT, AudioAdapterConfig, DiTConfig
from actavatar_jax.storage import write_json
from actavatar_jax.weights import folder, names, writer
from actavatar_jax.weights.tables import dit

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from actavatar_jax.weights.twin import ActAvatarTwin  # noqa: E402 - what it needs may be missing

PUPPETS = Path(actavatar_jax.__file__).parent / "puppets" / "assets" / "model"
CONFIG = DiTConfig(
    width=48,
    heads=2,
    head_dim=24,
    ffn=64,
    layers=3,
    in_channels=6,
    out_channels=6,
    text_dim=20,
    text_len=16,
    freq_dim=32,
    audio=AudioAdapterConfig(feature_layers=2, feature_width=4, hidden=8, tokens=3, token_width=8),
)
EVERYTHING = {"phase_time": "paper+soft_relay", "frame_time": True, "place": True, "linear_guess": True}
FRAMES, HEIGHT, WIDTH = GRID = (5, 4, 6)
TOLERANCE = 1e-5


def random_params(config):
    """Every parameter random, gains around 1: nothing is at the identity that it starts at."""
    rng, flat = np.random.default_rng(0), functional.flatten(functional.abstract(ActAvatarDiT, config))
    for name, leaf in flat.items():
        spread = leaf.shape[-2] ** -0.5 if name.endswith("kernel") else 0.3
        gain = 1.0 if name.endswith(("scale", "window_strength")) else 0.0
        flat[name] = (gain + spread * rng.standard_normal(leaf.shape)).astype(np.float32)
    return functional.unflatten(flat)


def random_inputs(config, audio_frames=4 * FRAMES - 3):
    """Latents in our layout, timesteps and conditions; windows shorter and longer than the bias's plateau."""
    rng, c = np.random.default_rng(1), config
    latents = rng.standard_normal((2, *GRID, c.in_channels)).astype(np.float32)
    times = np.asarray([[0, 700, 700, 700, 700], [0, 45, 45, 45, 45]], np.float32)
    text = rng.standard_normal((2, 16, c.text_dim)).astype(np.float32)
    text[:, 11:] = 0
    windows = np.zeros((2, 8, 2), np.float32)
    windows[:, :2] = [[[0.0, 0.1], [0.1, 0.6]], [[0.0, 0.6], [0.5, 0.6]]]
    features = (2, audio_frames, c.audio.feature_layers, c.audio.feature_width)
    conditions = {
        "text": text,
        "phase_ids": np.tile(np.asarray([0] * 4 + [1] * 4 + [2] * 2 + [0] + [-1] * 5, np.int32), (2, 1)),
        "phase_windows": windows,
        "audio": rng.standard_normal(features).astype(np.float32),
    }
    return latents, times, conditions


def ours(network, params, latents, times, conditions):
    model = network.bind(params)
    return model(latents, times, model.condition(**conditions, grid=GRID))


def ours_compiled(config, *args):
    network = functional.Network(ActAvatarDiT, config)
    return np.asarray(jax.jit(ours, static_argnums=0, compiler_options=functional.RUN_ONCE)(network, *args))


def theirs(twin, latents, times, conditions):
    """The twin's velocity in our layout."""
    arrays = {name: torch.from_numpy(value) for name, value in conditions.items()}
    velocity = twin(torch.from_numpy(latents).permute(0, 4, 1, 2, 3), torch.from_numpy(times), **arrays)
    return velocity.permute(0, 2, 3, 4, 1)


def error(got, want):
    return np.abs(np.asarray(got) - np.asarray(want)).max() / np.abs(np.asarray(want)).max()


@pytest.fixture
def saved(tmp_path):
    """Writes random weights of a config to a model folder and gives them back."""

    def save(config):
        params = random_params(config)
        folder.save(tmp_path, "transformer", config, params)
        return params

    return save


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"phase_time": "paper+relay"},
        {"phase_time": "tie"},
        {"phase_time": "paper+point"},
        {"phase_time": "original"},
        {"frame_time": True},
        {"place": True, "linear_guess": True},
        {"phase_time": "tie", "latent_rate": 4.0},
        {"phase_time": "paper+relay", "frame_time": True, "latent_rate": 4.0},
    ],
    ids=[
        *("paper", "relay", "tie", "point", "original", "frame_time", "place_linear_guess"),
        *("tie_of_16_fps", "relay_of_16_fps"),
    ],
)
def test_velocity(saved, tmp_path, options):
    config = dataclasses.replace(CONFIG, **options)
    params = saved(config)
    inputs = random_inputs(config)
    with torch.no_grad():
        got = theirs(ActAvatarTwin.from_folder(tmp_path), *inputs)
    assert error(got, ours_compiled(config, params, *inputs)) < TOLERANCE


@pytest.mark.slow
def test_velocity_and_gradients_with_everything(saved, tmp_path):
    """The speech goes on after the clip's last frame; every parameter of both models has the same gradient."""
    config = dataclasses.replace(CONFIG, **EVERYTHING)
    params = saved(config)
    latents, times, conditions = random_inputs(config, audio_frames=4 * FRAMES + 4)
    weight = np.random.default_rng(2).standard_normal(latents.shape).astype(np.float32)

    def loss(params, *inputs):
        velocity = ours(functional.Network(ActAvatarDiT, config), params, *inputs)
        return jnp.sum(weight * velocity), velocity

    gradient = jax.jit(jax.grad(loss, has_aux=True), compiler_options=functional.RUN_ONCE)
    want_gradients, want = gradient(params, latents, times, conditions)
    twin = ActAvatarTwin.from_folder(tmp_path)
    got = theirs(twin, latents, times, conditions)
    (torch.from_numpy(weight) * got).sum().backward()

    assert error(got.detach(), want) < TOLERANCE
    errors = {}
    for name, value in names.export_params(dit.diffusers(config), jax.tree.map(np.asarray, want_gradients)):
        assert np.any(value), name
        errors[name] = error(twin.get_parameter(name).grad, value)
    assert {name: size for name, size in errors.items() if size > TOLERANCE} == {}


@pytest.mark.slow
def test_shipped_puppets():
    part = folder.load(PUPPETS, "transformer")
    inputs = random_inputs(part.config)
    with torch.no_grad():
        got = theirs(ActAvatarTwin.from_folder(PUPPETS), *inputs)
    assert error(got, ours_compiled(part.config, part.params, *inputs)) < TOLERANCE


def test_plain_backbone_of_the_original_layout(saved, tmp_path):
    """Names of the Wan release, no tensors of ours: the twin starts at the identity, whatever the speech."""
    params = functional.flatten(random_params(CONFIG))
    added = functional.split(params, dit.ADDED)[0]
    tensors = {e.theirs: names.export_leaf(e, params[e.ours]) for e in dit.wan(CONFIG) if e.ours not in added}
    writer.write_sharded(tmp_path, "diffusion_pytorch_model", names.Arrays(tensors))
    write_json(tmp_path / "config.json", dit.to_wan_json(CONFIG))
    twin, part = ActAvatarTwin.from_folder(tmp_path), folder.load(tmp_path, "transformer")
    latents, times, conditions = random_inputs(CONFIG)
    with torch.no_grad():
        got = theirs(twin, latents, times, conditions)
        other = theirs(twin, latents, times, conditions | {"audio": conditions["audio"] + 1})
    assert torch.equal(got, other)
    assert error(got, ours_compiled(part.config, part.params, latents, times, conditions)) < TOLERANCE


def test_full_size_has_the_names_and_shapes_of_the_files():
    config = presets.PRESETS["wan22_ti2v_5b"].transformer
    with torch.device("meta"):
        state = ActAvatarTwin(config).state_dict()
    shapes = functional.flatten(functional.abstract(ActAvatarDiT, config))
    want = {entry.theirs: names.their_shape(entry, shapes[entry.ours].shape) for entry in dit.diffusers(config)}
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == want


def test_timesteps_per_token(saved, tmp_path):
    config = dataclasses.replace(CONFIG, linear_guess=True)
    saved(config)
    twin = ActAvatarTwin.from_folder(tmp_path)
    latents, times, conditions = random_inputs(config)
    with torch.no_grad():
        per_frame = theirs(twin, latents, times, conditions)
        per_token = theirs(twin, latents, times.repeat(HEIGHT * WIDTH // 4, axis=1), conditions)
        with pytest.raises(InputError, match=r"4 timesteps do not fit the latents: accepted are 5, .* or 30, one per"):
            theirs(twin, latents, times[:, :4], conditions)
    assert torch.equal(per_frame, per_token)


def test_lower_precision(saved, tmp_path):
    config = dataclasses.replace(CONFIG, **EVERYTHING)
    saved(config)
    inputs = random_inputs(config)
    twin, half = (ActAvatarTwin.from_folder(tmp_path, dtype) for dtype in (torch.float32, torch.bfloat16))
    with torch.no_grad():
        exact, rounded = theirs(twin, *inputs), theirs(half, *inputs)
    part = folder.load(tmp_path, "transformer", dtype="bfloat16")
    mine = np.asarray(
        jax.jit(functools.partial(ours, part.network), compiler_options=functional.RUN_ONCE)(part.params, *inputs)
    )
    noise = error(rounded, exact)
    # Both are off by as much, and from each other as two independent errors are: by the root of 2 more.
    assert noise < 0.01 and error(mine, exact) < 1.1 * noise and error(mine, rounded) < 1.1 * 2**0.5 * noise


def test_the_same_parameters_stay_in_float32(saved, tmp_path):
    config = dataclasses.replace(CONFIG, **EVERYTHING)
    saved(config)
    half = ActAvatarTwin.from_folder(tmp_path, torch.bfloat16).state_dict()
    part = functional.flatten(folder.load(tmp_path, "transformer", dtype="bfloat16").params)
    kept = set(ActAvatarTwin._keep_in_fp32_modules)
    for entry in dit.diffusers(config):
        own = part[entry.ours].dtype == np.float32
        assert own == (half[entry.theirs].dtype == torch.float32), entry.theirs
        assert own == (not kept.isdisjoint(entry.theirs.split("."))), entry.theirs  # what diffusers' loader goes by


def test_what_the_twin_saves_is_a_model_folder(saved, tmp_path):
    config = dataclasses.replace(CONFIG, **EVERYTHING)
    params = saved(config)
    ActAvatarTwin.from_folder(tmp_path).save_pretrained(tmp_path / "again" / "transformer")
    part = folder.load(tmp_path / "again", "transformer")
    assert part.config == config
    jax.tree.map(np.testing.assert_array_equal, part.params, params)


def test_without_diffusers(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    monkeypatch.delitem(sys.modules, "actavatar_jax.weights.twin")
    with pytest.raises(InputError, match=r"needs torch and diffusers 0.36 or newer .*; install actavatar-jax\[torch\]"):
        importlib.import_module("actavatar_jax.weights.twin")
