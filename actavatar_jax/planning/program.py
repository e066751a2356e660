"""The training step of a config as a program for devices that are not here: shapes only, nothing is allocated."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from actavatar_jax import functional
from actavatar_jax.diffusion.flow import TimeLaw
from actavatar_jax.errors import InputError
from actavatar_jax.media.clock import latent_frames
from actavatar_jax.models.avatar import ActAvatarDiT, DiTConfig
from actavatar_jax.models.presets import PRESETS
from actavatar_jax.parallel.rules import batch_shardings, state_shardings
from actavatar_jax.planning.chips import Chip
from actavatar_jax.training.groups import multipliers, partition
from actavatar_jax.training.optimizer import make_optimizer, make_schedule
from actavatar_jax.training.settings import transformer_config
from actavatar_jax.training.state import TrainState
from actavatar_jax.training.step import make_train_step
from actavatar_jax.weights.components import find

STRIDE = 16  # pixels of a side for one latent place, of the Wan2.2 autoencoder, which full-size models have
# Without a GPU to measure on, XLA finds no tile sizes for some matrix products of its own GEMM generator.
COMPILER_OPTIONS = {"cuda": {"xla_gpu_enable_triton_gemm": False}, "tpu": {}}


def lower(config: ConfigDict, model_config: DiTConfig, mesh: Mesh) -> jax.stages.Lowered:
    """The step of `training.step` on this mesh, for a batch of `config.data`, not yet compiled."""
    params = functional.abstract(ActAvatarDiT, model_config)
    # Lengths do not change the program: one step serves.
    optimizer = config.optim.copy_and_resolve_references()
    with optimizer.ignore_type():
        optimizer.warmup, optimizer.decay = 1, 0
    tx = make_optimizer(optimizer, 1, multipliers(params, config.rules), config.explode)
    trained, frozen = partition(params, config.rules)
    state = jax.eval_shape(lambda *halves: _state(tx, config.optim.ema_decay > 0, *halves), trained, frozen)
    shardings = state_shardings(state, mesh)
    step = make_train_step(
        ActAvatarDiT, model_config, tx, TimeLaw(**config.time_law), make_schedule(optimizer, 1),
        config.optim.ema_decay, micro_batches=config.micro_batches, shardings=shardings,
    )  # fmt: skip
    batch = batch_shapes(config.data, model_config)
    key = jax.eval_shape(lambda: jax.random.key(0, impl="threefry2x32"))
    arguments = (state, batch, key)
    places = (shardings, batch_shardings(mesh, batch), NamedSharding(mesh, PartitionSpec()))
    with jax.set_mesh(mesh):
        return step.lower(*jax.tree.map(_placed, arguments, places))


def model_config_of(config: ConfigDict, chip: Chip) -> DiTConfig:
    """The transformer of a training config, with the chip's fused attention where the config has plain `xla`.

    A config without model folder and preset, as the paper's stages are, means the full-size model.
    """
    m = config.model
    if m.preset and m.preset not in PRESETS:
        raise InputError(f'There is no preset "{m.preset}"; there are: {", ".join(PRESETS)}.')
    preset = PRESETS[m.preset or "wan22_ti2v_5b"]
    base = find(Path(m.folder), "transformer").config if m.folder else preset.transformer
    transformer = transformer_config(config, base)
    if transformer.attention == "xla":
        transformer = dataclasses.replace(transformer, attention=chip.attention)
    return transformer


def frozen_backbone(config: ConfigDict, model_config: DiTConfig) -> bool:
    """Whether the backbone's weights have no gradients to compute, by the measure of the training loop."""
    speeds = multipliers(functional.abstract(ActAvatarDiT, model_config), config.rules)
    return speeds["blocks/self_attn/query/kernel"] is None


def latent_grid(data: ConfigDict) -> tuple[int, int, int]:
    """Latent (T, H, W) of the clips of `data.bucket`."""
    height, width, frames = data.bucket
    if height % (2 * STRIDE) or width % (2 * STRIDE):
        raise InputError(f"A bucket of {height}x{width} cannot be coded: both sides must be multiples of {2 * STRIDE}.")
    return latent_frames(frames), height // STRIDE, width // STRIDE


def batch_shapes(data: ConfigDict, m: DiTConfig) -> dict[str, jax.ShapeDtypeStruct]:
    """A batch as the loader gives it and the step takes it (`make_train_step`)."""
    batch, frames = data.batch_size, data.bucket[2]
    entries = {
        "latents": ((*latent_grid(data), m.in_channels), jnp.bfloat16),
        "text": ((m.text_len, m.text_dim), jnp.bfloat16),
        "phase_ids": ((m.text_len,), jnp.int32),
        "phase_windows": ((m.max_phases, 2), jnp.float32),
        "audio": ((frames, m.audio.feature_layers, m.audio.feature_width), jnp.float16),
        "index": ((), jnp.int32),
    }
    return {name: jax.ShapeDtypeStruct((batch, *shape), dtype) for name, (shape, dtype) in entries.items()}


def _state(tx: Any, ema: bool, params: functional.Params, frozen: functional.Params) -> TrainState:
    return TrainState(jnp.zeros((), jnp.int32), params, frozen, tx.init(params), params if ema else None)


def _placed(leaf: jax.ShapeDtypeStruct, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
