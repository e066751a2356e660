"""The transformer beside its PyTorch twin, which is diffusers' with what ActAvatar adds: forward and training steps."""

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import torch

from actavatar_jax.diffusion import flow
from actavatar_jax.models.avatar import DiTConfig
from actavatar_jax.runs.resolve import in_steps, training_settings
from actavatar_jax.runs.settings import read_config
from actavatar_jax.training.groups import multipliers, partition
from actavatar_jax.training.optimizer import DECAYED, make_optimizer, make_schedule
from actavatar_jax.training.settings import TrainingSettings
from actavatar_jax.training.state import TrainState
from actavatar_jax.training.step import Batch, make_train_step
from actavatar_jax.weights import Component
from actavatar_jax.weights.tables import dit
from actavatar_jax.weights.twin import ActAvatarTwin
from benchmarks.pairs import Pair, open_both

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
CONDITIONS = ("text", "phase_ids", "phase_windows", "audio")
Grid = tuple[int, int, int]  # latent T, H, W
Speeds = dict[str, float | None]
KEY = jax.random.key(0)  # of noise and times


def forward_pair(config: DiTConfig, grid: Grid) -> Pair:
    """One velocity for latents of (T, H, W), with all that it depends on: text, speech, their keys and values."""
    part, twin = open_both("transformer", config, ActAvatarTwin.from_folder)
    batch = random_batch(config, grid)
    conditions = {name: batch[name] for name in CONDITIONS}
    times = np.asarray(flow.frame_times(jnp.full(1, 0.7), grid[0]))

    @jax.jit
    def velocity(params, latents, times, conditions):
        model = part.network.bind(params)
        return model(latents, times, model.condition(**conditions, grid=grid))

    inputs = jax.device_put((batch["latents"], times, conditions))
    their_latents, their_times = channels_first(batch["latents"]), torch.tensor(times)
    their_conditions = to_torch(conditions)

    @torch.inference_mode()
    def run_theirs() -> np.ndarray:
        return twin(their_latents, their_times, **their_conditions).permute(0, 2, 3, 4, 1).numpy()

    return Pair("DiT forward", size_of(config, grid), lambda: np.asarray(velocity(part.params, *inputs)), run_theirs)


def step_pair(config: DiTConfig, grid: Grid, stage: int) -> Pair:
    """A step of a stage on one sample: loss, gradients, clipping, AdamW. Its result is the norm of the gradient."""
    config_file = CONFIGS / f"stage{stage}.py"
    settings = training_settings(in_steps(read_config(str(config_file)), examples=None))
    part, twin = open_both("transformer", config, ActAvatarTwin.from_folder)
    speeds = multipliers(part.params, settings.rules)
    batch = random_batch(config, grid)
    ours, theirs = our_step(part, settings, speeds, batch), their_step(twin, settings, speeds, batch)
    return Pair(f"training step, stage {stage}", size_of(config, grid), ours, theirs)


def our_step(part: Component, settings: TrainingSettings, speeds: Speeds, batch: Batch) -> Callable[[], np.ndarray]:
    """As `training.loop` takes it on one device, in float32 and with everything kept for the backward pass."""
    tx = make_optimizer(settings.optim, settings.steps, speeds, settings.explode)
    step = make_train_step(part.network, tx, settings.objective, make_schedule(settings.optim, settings.steps))
    state = TrainState.create(*partition(part.params, settings.rules), tx)
    batch = jax.device_put(batch)

    def run() -> np.ndarray:
        nonlocal state
        state, metrics = jax.block_until_ready(step(state, batch, KEY))
        return np.asarray(metrics["grad_norm"])

    return run


def their_step(
    twin: ActAvatarTwin, settings: TrainingSettings, speeds: Speeds, batch: Batch
) -> Callable[[], np.ndarray]:
    """`training.step` and `training.optimizer` in PyTorch, with the noise and the time that JAX draws there."""
    c, decays = settings.optim, DECAYED.values(speeds)
    groups = {True: [], False: []}
    for entry in dit.diffusers(twin.settings):
        parameter = twin.get_parameter(entry.theirs).requires_grad_(speeds[entry.ours] is not None)
        if parameter.requires_grad:
            groups[decays[entry.ours]].append(parameter)
    adamw = torch.optim.AdamW(
        [{"params": groups[True]}, {"params": groups[False], "weight_decay": 0.0}],
        c.learning_rate, (c.b1, c.b2), c.eps, c.weight_decay, fused=True,
    )  # fmt: skip

    keys = jax.vmap(jax.random.split)(flow.sample_keys(KEY, batch["index"]))
    times = settings.objective.time_law.sample(keys[:, 0])
    frame_times = torch.tensor(np.asarray(flow.frame_times(times, batch["latents"].shape[1])))
    noise = channels_first(np.asarray(flow.gaussian(keys[:, 1], batch["latents"].shape[1:])))
    t = torch.tensor(np.asarray(times))[:, None, None, None, None]
    data = channels_first(batch["latents"])
    conditions = to_torch({name: batch[name] for name in CONDITIONS})

    def run() -> np.ndarray:
        noisy = (1 - t) * data + t * noise
        noisy[:, :, :1] = data[:, :, :1]
        missed = twin(noisy, frame_times, **conditions) - (noise - data)
        missed[:, :, 1:].square().mean().backward()
        norm = torch.nn.utils.clip_grad_norm_(groups[True] + groups[False], c.clip)
        adamw.step()
        adamw.zero_grad()
        return norm.numpy()

    return run


def random_batch(config: DiTConfig, grid: Grid) -> dict[str, np.ndarray]:
    """One sample as `make_train_step` takes it, its text full of phases."""
    rng, c = np.random.default_rng(0), config

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal((1, *shape), np.float32)

    return {
        "latents": normal(*grid, c.in_channels),
        "text": normal(c.text_len, c.text_dim),
        "phase_ids": (np.arange(c.text_len)[None] * (c.max_phases + 1) // c.text_len).astype(np.int32),
        "phase_windows": np.zeros((1, c.max_phases, 2), np.float32),
        "audio": normal(4 * grid[0] - 3, c.audio.feature_layers, c.audio.feature_width),
        "index": np.zeros(1, np.int32),
    }


def size_of(config: DiTConfig, grid: Grid) -> str:
    return f"{config.tokens(grid):,} tokens, {config.layers} blocks of {config.width}"


def channels_first(latents: np.ndarray) -> torch.Tensor:
    return torch.tensor(latents).permute(0, 4, 1, 2, 3).contiguous()


def to_torch(arrays: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(value) for name, value in arrays.items()}
